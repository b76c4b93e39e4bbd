# gaps.pl KEY OVER SINCE: the gaps between records of append.pl that are longer than OVER ms, among
# those after the counter SINCE.
#
# First line: how many gaps, their median and the longest, in ns. Then one line for each longer one:
# the last record before it (counter, number of the file, when it was durable), and its ns. While
# the writer is at work the last gap lasts until now.
my ($key, $over, $since) = @ARGV;
my ($CLOCK_GETTIME, $CLOCK_MONOTONIC) = (228, 1);
my (@gaps, @long, @before);

sub gap {
    my ($until) = @_;
    my $gap = $until - $before[2];
    push @gaps, $gap;
    push @long, "@before $gap\n" if $gap > $over * 1000000;
}

my $time = "\0" x 16;
syscall($CLOCK_GETTIME, $CLOCK_MONOTONIC, $time) == 0 or die "clock_gettime: $!";
my ($seconds, $nanoseconds) = unpack("qq", $time);
my $now = $seconds * 1000000000 + $nanoseconds;
my $at_work = -e "/run/lab/append-$key.pids";
open(my $told, "<", "/run/lab/append.$key") or die "told: $!";
while (<$told>) {
    last unless /\n$/;
    my @record = split;
    last if $record[2] > $now;
    gap($record[2]) if @before && $record[0] > $since;
    @before = @record;
}
gap($now) if $at_work && @before && $before[0] >= $since;
my @sorted = sort { $a <=> $b } @gaps;
print scalar(@gaps), " ", $sorted[$#sorted / 2] || 0, " ", $sorted[-1] || 0, "\n", @long;
