"""What a home router, or a carrier's, does to packets: the kinds of NAT of README.md as rules of nftables."""

def router_rules(kind, wan, dmz=None, remembers=120):
    """nft rules of a home (or carrier) router: interfaces "lan" and "wan".

    mapping    eim = endpoint independent, adm / apdm = new port per address / per address and port
    filtering  eif = anyone may send in, adf = known addresses, apdf = known address and port
    remembers  seconds for which a hole that let an answer in stays open
    """
    if kind == 'none':          # plain router, no firewall
        return ''
    udp_map = {                 # how the external UDP port is picked (nft swaps the bytes of the hash; no matter)
        'adm': 'to :jhash ip saddr . udp sport . ip daddr mod 16384 seed 7 offset 40000',
        'eim-rnd': 'to :jhash ip saddr . udp sport mod 16384 seed 7 offset 40000',
        'sym': 'fully-random', 'sym-cone': 'fully-random',
    }.get(kind, '')             # '' keeps the source port where it is free, as most home routers do
    drop = {                    # extra limits on what goes out
        'udpblock': 'meta l4proto udp drop',
        'web': 'iifname "lan" tcp dport != { 80, 443 } drop\n    meta l4proto udp drop',
    }.get(kind, '')
    # eif / adf: remember (external port -> inside address, port) and let strangers in through it
    dnat = {
        'cone': 'meta l4proto udp fib daddr type local dnat ip to udp dport map @ext',
        'sym-cone': 'meta l4proto udp fib daddr type local dnat ip to udp dport map @ext',
        'arc': 'iifname "wan" meta l4proto udp udp dport . ip saddr @peers dnat ip to udp dport map @ext',
        'dmz': f'iifname "wan" dnat ip to {dmz}',
    }.get(kind, '')
    return f'''
table inet filter {{
  chain input {{ type filter hook input priority 0; policy drop;
    iifname {{ "lo", "lan" }} accept
    ct state established,related accept
    meta l4proto {{ icmp, ipv6-icmp }} accept
  }}
  chain forward {{ type filter hook forward priority 0; policy drop;
    {drop}
    ct state established,related accept
    iifname "lan" accept
    ct status dnat accept
    jump miniupnpd
  }}
  chain miniupnpd {{ }}
  chain prerouting {{ type nat hook prerouting priority dstnat;
    jump prerouting_miniupnpd
  }}
  chain postrouting {{ type nat hook postrouting priority srcnat;
    jump postrouting_miniupnpd
  }}
  chain prerouting_miniupnpd {{ }}
  chain postrouting_miniupnpd {{ }}
}}
table ip nat {{
  map ext {{ type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout {remembers}s; }}
  set peers {{ type inet_service . ipv4_addr; flags dynamic,timeout; timeout {remembers}s; }}
  chain pre {{ type nat hook prerouting priority dstnat + 5;
    {dnat}
  }}
  chain post {{ type nat hook postrouting priority srcnat + 5;
    oifname "wan" meta l4proto udp masquerade {udp_map}
    oifname "wan" masquerade
    iifname "lan" oifname "lan" ct status dnat snat to {wan}
  }}
  chain learn {{ type filter hook postrouting priority srcnat + 10;
    oifname "wan" meta l4proto udp update @ext {{ udp sport : ct original ip saddr . ct original proto-src }} update @peers {{ udp sport . ip daddr }}
  }}
}}
'''


NATS = ('eim', 'eim-rnd', 'adm', 'sym', 'cone', 'arc', 'sym-cone', 'dmz', 'udpblock', 'web', 'upnp', 'none')
