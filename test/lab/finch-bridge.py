#!/usr/bin/python3
"""Steers a Finch over its D-Bus interface (libpurple's), for the tests.

    finch-bridge.py BUS_ADDRESS

Reads one JSON command a line, {"id": N, "do": NAME, ...}, and answers each with {"id": N, "result": ...} or
{"id": N, "error": TEXT}.  What Finch receives comes as {"event": "message", "from": NAME, "text": TEXT}.
"""
import html
import json
import re
import sys
import time

import dbus
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

SERVICE, PATH, INTERFACE = 'im.pidgin.purple.PurpleService', '/im/pidgin/purple/PurpleObject', 'im.pidgin.purple.PurpleInterface'
IM = 1                                          # PURPLE_CONV_TYPE_IM
AVAILABLE, AWAY = 2, 5                          # PurpleStatusPrimitive


def plain(markup):
    """libpurple's messages are HTML."""
    return html.unescape(re.sub('<[^>]*>', '', markup))


def say(**fact):
    print(json.dumps(fact), flush=True)


class Finch:
    def __init__(self, address):
        end = time.time() + 20
        while True:                             # Finch takes its name on the bus a moment after it starts
            try:
                self.bus = dbus.bus.BusConnection(address)
                self.purple = dbus.Interface(self.bus.get_object(SERVICE, PATH), INTERFACE)
                self.account = int(self.purple.PurpleAccountsGetAllActive()[0])
                break
            except (dbus.DBusException, IndexError):
                if time.time() > end:
                    raise
                time.sleep(0.05)
        self.bus.add_signal_receiver(self.received, 'ReceivedImMsg', INTERFACE)

    def received(self, account, sender, message, conversation, flags):
        say(event='message', **{'from': str(sender)}, text=plain(str(message)))

    def online(self):
        return bool(self.purple.PurpleAccountIsConnected(self.account))

    def buddy(self, handle):
        p = self.purple
        status = p.PurplePresenceGetActiveStatus(p.PurpleBuddyGetPresence(handle))
        return {'name': str(p.PurpleBuddyGetName(handle)), 'alias': str(p.PurpleBuddyGetAlias(handle)),
                'online': bool(p.PurpleBuddyIsOnline(handle)), 'status': str(p.PurpleStatusGetId(status)),
                'text': plain(str(p.PurpleStatusGetAttrString(status, 'message')))}

    def buddies(self):
        found = []
        for handle in self.purple.PurpleFindBuddies(self.account, ''):
            try:
                found.append(self.buddy(handle))
            except dbus.DBusException:          # it left between two calls
                pass
        return found

    def send(self, to, text):
        p = self.purple
        conversation = p.PurpleFindConversationWithAccount(IM, to, self.account) or p.PurpleConversationNew(IM, self.account, to)
        p.PurpleConvImSend(p.PurpleConvIm(conversation), html.escape(text, quote=False))

    def status(self, away, text):
        saved = self.purple.PurpleSavedstatusNew('', AWAY if away else AVAILABLE)
        self.purple.PurpleSavedstatusSetMessage(saved, text)
        self.purple.PurpleSavedstatusActivate(saved)

    def quit(self):
        self.purple.PurpleCoreQuit(ignore_reply=True)


def main():
    DBusGMainLoop(set_as_default=True)
    finch, loop = Finch(sys.argv[1]), GLib.MainLoop()

    def command(source, condition):
        line = sys.stdin.readline()
        if not line:
            loop.quit()
            return False
        asked = json.loads(line)
        number, name = asked.pop('id'), asked.pop('do')
        try:
            say(id=number, result=getattr(finch, name)(**asked))
        except dbus.DBusException as error:
            say(id=number, error=str(error))
        return True

    GLib.io_add_watch(sys.stdin, GLib.IO_IN | GLib.IO_HUP, command)
    loop.run()


main()
