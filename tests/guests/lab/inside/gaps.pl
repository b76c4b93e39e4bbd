# gaps.pl KEY OVER SINCE: the gaps between records of append.pl that are longer than OVER ms, among
# those after the counter SINCE.
#
# First line: how many gaps, their median and the longest, in ns. Then one line for each longer one:
# the last record before it (counter, number of the file, when it was durable), and its ns.
my ($key, $over, $since) = @ARGV;
my (@gaps, @long, @before);
open(my $told, "<", "/run/lab/append.$key") or die "told: $!";
while (<$told>) {
    last unless /\n$/;
    my @record = split;
    if (@before && $record[0] > $since) {
        my $gap = $record[2] - $before[2];
        push @gaps, $gap;
        push @long, "@before $gap\n" if $gap > $over * 1000000;
    }
    @before = @record;
}
my @sorted = sort { $a <=> $b } @gaps;
print scalar(@gaps), " ", $sorted[$#sorted / 2] || 0, " ", $sorted[-1] || 0, "\n", @long;
