# append.pl KEY PAUSE FILE...: appends a record to each file in turn, each followed by an fsync.
#
# A record is 32 bytes: a counter, and CLOCK_MONOTONIC in ns just before it was written. Each one
# that is durable is told in /run/lab/append.KEY: counter, number of the file, CLOCK_MONOTONIC.
# PAUSE is in ms, after each round.
my ($key, $pause, @paths) = @ARGV;
my ($FSYNC, $CLOCK_GETTIME, $CLOCK_MONOTONIC) = (74, 228, 1);

sub now {
    my $time = "\0" x 16;
    syscall($CLOCK_GETTIME, $CLOCK_MONOTONIC, $time) == 0 or die "clock_gettime: $!";
    my ($seconds, $nanoseconds) = unpack("qq", $time);
    return $seconds * 1000000000 + $nanoseconds;
}

my @files;
for my $path (@paths) {
    open(my $file, ">", $path) or die "$path: $!";
    push @files, $file;
}
open(my $told, ">", "/run/lab/append.$key") or die "told: $!";
for (my $counter = 1; ; $counter++) {
    for my $number (0 .. $#files) {
        my $record = sprintf("%010d %020d\n", $counter, now());
        syswrite($files[$number], $record) == 32 or die "$paths[$number]: $!";
        syscall($FSYNC, fileno($files[$number])) == 0 or die "$paths[$number]: fsync: $!";
        syswrite($told, "$counter $number " . now() . "\n");
    }
    select(undef, undef, undef, $pause / 1000) if $pause;
}
