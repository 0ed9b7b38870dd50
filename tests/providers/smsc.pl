#!/usr/bin/perl
# An SMSC on Net::SMPP: every packet is read and written by a library that nobody here wrote. It takes what comes from whoever binds with the
# password "secret1", sends a receipt where one is asked for, and sends back what is submitted to a number that ends in 99, part by part.
use strict;
use warnings;
use Net::SMPP;
use IO::Handle;

STDOUT->autoflush(1);
my $listener = Net::SMPP->new_listen('127.0.0.1', port => 0, smpp_version => 0x34) or die "cannot listen: $!";
print "port ", $listener->sockport, "\n";

my ($last, $session) = (0, undef);
$SIG{CHLD} = 'IGNORE';
while ($session = $listener->accept) {
    my $child = fork;
    next if $child;
    serve($session);
    exit 0;
}

sub serve {
    my ($peer) = @_;
    while (my $pdu = $peer->read_pdu) {
        my $name = exists Net::SMPP::pdu_tab->{$pdu->{cmd}} ? Net::SMPP::pdu_tab->{$pdu->{cmd}}{cmd} : 'unknown';
        print "$name $pdu->{status} ", unpack('H*', $pdu->{short_message} // ''), "\n";
        if ($name eq 'bind_transceiver') {
            my $status = $pdu->{password} eq 'secret1' ? 0 : 0x0E;
            $peer->bind_transceiver_resp(system_id => 'perl', status => $status, seq => $pdu->{seq});
        } elsif ($name eq 'submit_sm') {
            submitted($peer, $pdu);
        } elsif ($name eq 'enquire_link') {
            $peer->enquire_link_resp(seq => $pdu->{seq});
        } elsif ($name eq 'unbind') {
            $peer->unbind_resp(seq => $pdu->{seq});
            return;
        }
    }
}

sub submitted {
    my ($peer, $pdu) = @_;
    # names as many SMSCs give them: hexadecimal here, decimal in the receipt
    my $number = 0xA000 + $$ * 1000 + ++$last;
    $peer->submit_sm_resp(message_id => sprintf('%X', $number), seq => $pdu->{seq});
    my @back = (
        source_addr_ton => $pdu->{dest_addr_ton}, source_addr_npi => $pdu->{dest_addr_npi}, source_addr => $pdu->{destination_addr},
        dest_addr_ton => $pdu->{source_addr_ton}, dest_addr_npi => $pdu->{source_addr_npi}, destination_addr => $pdu->{source_addr},
    );
    if ($pdu->{destination_addr} =~ /99$/) {
        $peer->deliver_sm(@back, esm_class => $pdu->{esm_class}, data_coding => $pdu->{data_coding}, short_message => $pdu->{short_message}, async => 1);
    }
    if ($pdu->{registered_delivery} & 1) {
        my $stat = $pdu->{destination_addr} =~ /13$/ ? 'UNDELIV' : 'DELIVRD';
        my $text = "id:$number sub:001 dlvrd:001 submit date:2506181200 done date:2506181201 stat:$stat err:000 text:";
        $peer->deliver_sm(@back, esm_class => 0x04, short_message => $text, async => 1);
    }
}
