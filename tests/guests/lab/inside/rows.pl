# rows.pl MODE PAUSE: SQL for sqlite3 without end: each transaction, PAUSE ms after the last, adds a
# row, and one to a total.
# The number of the last one that was committed is in /run/lab/rows.committed.
my ($mode, $pause) = @ARGV;
$| = 1;
print <<"END";
PRAGMA journal_mode=$mode;
PRAGMA synchronous=FULL;
CREATE TABLE rows (number INTEGER PRIMARY KEY, text TEXT);
CREATE TABLE total (rows INTEGER);
INSERT INTO total VALUES (0);
END
for (my $n = 1; ; $n++) {
    print <<"END";
BEGIN;
INSERT INTO rows VALUES ($n, hex(randomblob(200)));
UPDATE total SET rows = rows + 1;
COMMIT;
SELECT writefile('/run/lab/rows.committed', '$n');
END
    select(undef, undef, undef, $pause / 1000);
}
