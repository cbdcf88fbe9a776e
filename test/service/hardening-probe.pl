# Tries what a hardened service must not be able to do, and prints a line for each: its name, and "done" or the number of the error. Perl is in
# every Debian and calls the kernel without a compiler; the numbers of the calls are those of x86-64.
use strict;
use warnings;

$| = 1;
my ($state) = @ARGV;

sub told { my ($name, $done) = @_; print "$name ", $done ? 'done' : $! + 0, "\n" }
sub call { my ($name, @arguments) = @_; $! = 0; told($name, syscall(shift @arguments, @arguments) >= 0) }

# Address families: packets, Bluetooth, virtual machines; and a raw socket of one that is permitted.
call('socket-packet', 41, 17, 3, 0);
call('socket-bluetooth', 41, 31, 3, 1);
call('socket-vsock', 41, 40, 1, 0);
call('socket-raw', 41, 2, 3, 1);
call('socket-inet6', 41, 10, 2, 0);
call('socket-netlink', 41, 16, 3, 0);
call('mount', 165, my $none = 'none', my $mnt = '/mnt', my $tmpfs = 'tmpfs', 0, 0);
call('chroot', 161, my $root = '/');
call('personality', 135, 0x0040000);
call('realtime', 144, 0, 1, my $priority = pack('i', 1));
call('set-clock', 227, 0, my $time = pack('qq', 0, 0));
call('set-hostname', 170, my $name = 'x', 1);
call('load-module', 175, my $module = '', 0, my $parameters = '');
call('read-kernel-log', 103, 3, my $buffer = "\0" x 16, 16);
call('trace', 101, 0, 0, 0, 0);
call('bpf', 321, 0, my $attributes = "\0" x 128, 128);
call('performance-events', 298, my $event = "\0" x 128, 0, -1, -1, 0);
call('swap', 167, my $device = '/dev/null', 0);
call('reboot', 169, 0, 0, 0, 0);
call('raise-priority', 141, 0, 0, -5);

# Files.
sub make { my ($label, $path) = @_; my $made = open(my $file, '>', $path); told($label, $made); unlink $path if $made }
make('write-state', "$state/probe");
make('write-settings', '/etc/partyline/probe');
make('write-sockets', '/run/partyline/probe');
make('write-tmp', '/tmp/probe');
open(my $file, '>', "$state/set-id") or die;
close $file;
told('set-user-id-bit', chmod(04755, "$state/set-id"));
unlink "$state/set-id";
my @homes = glob '/home/*';
told('see-home', scalar @homes);
told('see-init', -d '/proc/1');
told('see-kernel-facts', -e '/proc/meminfo');
told('see-kernel-memory', -e '/dev/kmsg' || -e '/dev/mem');

# Name spaces, last: a user's own needs no right at all where it is not forbidden, and what follows would be done in it.
call('unshare-user', 272, 0x10000000);
call('unshare-net', 272, 0x40000000);
