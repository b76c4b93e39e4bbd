# churn.pl FOLDER PAUSE: creates, writes, renames and deletes files and folders, PAUSE ms apart.
# Nothing is synced: a journal is full of it, and memory too.
my ($folder, $pause) = @ARGV;
mkdir $folder;
for (my $n = 1; ; $n++) {
    open(my $file, ">", "$folder/new") or die "$folder: $!";
    print $file "churn\n" x (80 * ($n % 40));
    close $file;
    rename("$folder/new", "$folder/kept-" . $n % 60);
    unlink("$folder/kept-" . (7 * $n) % 60);
    if ($n % 5 == 0) {
        mkdir "$folder/made-$n";
        rename("$folder/kept-" . $n % 60, "$folder/made-$n/inside");
        unlink("$folder/made-" . ($n - 20) . "/inside");
        rmdir("$folder/made-" . ($n - 20));
    }
    select(undef, undef, undef, $pause / 1000);
}
