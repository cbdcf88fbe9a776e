#!/usr/bin/python3
"""A scripted XMPP client on slixmpp, for the tests: direct TLS, the server's certificate checked as slixmpp does by default.

    slixmpp-client.py ADDRESS PORT JID PASSWORD CA_FILE

Reads one JSON command a line, {"id": N, "do": NAME, ...}, and answers each with {"id": N, "result": ...} or
{"id": N, "error": CONDITION}.  What happens comes as {"event": NAME, ...}: connected (and logged in), failed_auth,
untrusted (the certificate is not the server's), error, message, presence, disconnected.
"""
import asyncio
import json
import ssl
import sys

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout


def say(**fact):
    print(json.dumps(fact), flush=True)


class Client(slixmpp.ClientXMPP):
    def __init__(self, jid, password, ca_file):
        super().__init__(jid, password)
        self.ca_certs = ca_file
        for plugin in ('xep_0030', 'xep_0054', 'xep_0199', 'xep_0085'):
            self.register_plugin(plugin)
        self.add_event_handler('session_start', self.started)
        self.add_event_handler('failed_all_auth', lambda _: self.end(event='failed_auth'))
        self.add_event_handler('connection_failed', self.failed)
        self.add_event_handler('stream_error', lambda e: say(event='error', condition=e['condition'], text=e['text']))
        self.add_event_handler('disconnected', lambda _: self.end(event='disconnected'))
        self.add_event_handler('message', self.message)
        self.add_event_handler('message_error', self.message)
        self.add_event_handler('presence', lambda p: say(
            event='presence', **{'from': p['from'].bare}, type=p['type'], text=p['status']))

    def end(self, **fact):
        say(**fact)
        self.cancel_connection_attempt()
        self.loop.call_soon(self.loop.stop)

    def failed(self, why):
        self.end(event='untrusted' if isinstance(why, ssl.SSLError) else 'error', text=str(why))

    def message(self, m):
        condition = m['error']['condition'] if m['type'] == 'error' else ''
        say(event='message', **{'from': m['from'].bare}, type=m['type'], text=m['body'], condition=condition)

    async def started(self, _):
        self.send_presence()
        await self.get_roster()
        say(event='connected', jid=self.boundjid.full)

    async def run(self, do, id, **how):
        try:
            say(id=id, result=await getattr(self, 'do_' + do)(**how))
        except (IqError, IqTimeout) as error:
            say(id=id, error=error.condition)

    async def do_send(self, to, text):
        self.send_message(mto=to, mbody=text, mtype='chat')

    async def do_presence(self, show, text):
        self.send_presence(pshow=show or None, pstatus=text)

    async def do_roster(self):
        roster = self.client_roster
        return [{'jid': jid, 'name': roster[jid]['name'], 'subscription': roster[jid]['subscription'],
                 'here': bool(roster[jid].resources),
                 'show': next((r['show'] for r in roster[jid].resources.values()), '')}
                for jid in roster.keys() if jid != self.boundjid.bare]

    async def do_ping(self, to):
        return await self['xep_0199'].ping(slixmpp.JID(to))

    async def do_disco(self, to):
        info = (await self['xep_0030'].get_info(to))['disco_info']
        return {'identities': [[c, t, n] for c, t, _, n in info['identities']], 'features': sorted(info['features'])}

    async def do_vcard(self, to):
        return (await self['xep_0054'].get_vcard(slixmpp.JID(to)))['vcard_temp']['FN']

    async def do_raw(self, xml):
        self.send_raw(xml)

    async def do_quit(self):
        self.disconnect()

    def command(self):
        line = sys.stdin.readline()
        if line:
            asyncio.ensure_future(self.run(**json.loads(line)))
        else:
            self.loop.remove_reader(sys.stdin)
            self.disconnect()


def main():
    address, port, jid, password, ca_file = sys.argv[1:]
    client = Client(jid, password, ca_file)
    client.connect((address, int(port)), use_ssl=True)
    client.default_domain = client.boundjid.domain      # what the certificate has to be for, also at an IPv6 address
    client.loop.add_reader(sys.stdin, client.command)
    client.loop.run_forever()


main()
