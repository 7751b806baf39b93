"""Help-desk texts that lie between two classes: p % of one, the rest of another.

What:    `mix(major, minor, percent, rng)` writes one ticket that is `percent` %
         `major` and the rest `minor`; every ordered pair of classes has its own
         templates in three strengths (strong, middle, even).
Needs:   Python 3.11, standard library, and tickets.py beside this file
         (CLASSES, SLOTS, fill, ticket).
Example: python3 scripts/pocket/mixes.py --show 3      # three texts of each pair
         python3 scripts/pocket/mixes.py --count       # templates, distinct texts
         mix("account_locked", "vpn_access", 70, random.Random(1))

Template notation: `{name}` is a slot, first of LOCAL_SLOTS below, then of
tickets.SLOTS; `(a|b|)` picks one of the alternatives, which may be empty.
A template has no final full stop; question marks are set by the first word.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import Counter

from tickets import CLASSES, SLOTS, fill, ticket

Rng = random.Random
Strength = str  # "strong", "middle" or "even"

SHORTEST, LONGEST = 6, 32  # words

# How often the text slips over to the other class on purpose: a language model
# that is asked for 55 % of a class often misses the side, and the relabelling
# that follows shall have something to mend.
DRIFT_EVEN, DRIFT_MIDDLE, DRIFT_STRONG = 0.35, 0.15, 0.05

# Slots of this file only. They may use the slots of tickets.py.
LOCAL_SLOTS: dict[str, list[str]] = {
    # requests and joints
    "ask": ["please", "please", "could you please", "can you", "could someone", "can somebody", "would you please"],
    "and": [" and", ", and", ". Also,", ". Besides,", ". On top of that,"],
    "because": [" because", " as", ", because", ", since"],
    # password_reset
    "forgot": ["forgot", "have forgotten", "can't remember", "don't remember", "no longer know"],
    "reset": ["reset", "renew", "change"],
    "expired": ["expired", "has expired", "ran out", "has run out", "is no longer valid"],
    "expired_then": ["expired", "ran out", "became invalid"],  # an event: "... while I was away"
    "need_password": ["I need a new {password}", "please send me a new {password}", "please reset my {password}",
                      "I have to reset my {password}", "I would like a new {password}"],
    # account_locked
    "locked_out": ["locked out", "locked out again", "completely locked out", "shut out"],
    "need_unlock": ["please {unlock} my {account}", "my {account} must be unlocked", "I need my {account} unlocked"],
    # vpn_access
    "vpn_client": ["the VPN client", "AnyConnect", "GlobalProtect", "FortiClient", "OpenVPN", "the VPN app"],
    "vpn_fails": ["does not connect", "won't connect", "keeps disconnecting", "hangs while connecting",
                  "drops every few minutes", "stops with error {error_code}", "times out", "refuses the connection",
                  "cuts me off all the time"],
    "need_vpn": ["I need {vpn}", "I need access to {vpn}", "I have to use {vpn}", "I can't do without {vpn}"],
    # wifi_problem
    "wifi_fails": ["keeps dropping", "drops every few minutes", "is very slow", "is down", "has hardly any signal",
                   "cuts out all the time", "is far too weak", "comes and goes", "is painfully slow"],
    "no_wifi": ["there is no {wifi}", "I get no {wifi}", "we have no {wifi}", "there is no wireless signal"],
    # software_install
    "setup": ["setup", "installation", "installer", "update", "upgrade"],
    "setup_fails": ["fails with error {error_code}", "stops halfway", "hangs at the last step", "quits with an error",
                    "never finishes", "keeps failing", "rolls back at the end"],
    # hardware_fault
    "key": ["the enter key", "the shift key", "the space bar", "the caps lock key", "the A key", "one key"],
    "stuck": ["is stuck", "is jammed", "is dead", "no longer works", "came off"],
    "dropped": ["fell down", "fell off the desk", "got wet", "was dropped", "got coffee on it"],
    "device_fails": ["crashes", "shuts down by itself", "gets very hot", "keeps freezing", "switches itself off"],
    "device_dead": ["no longer starts", "died", "won't turn on", "broke", "stays black"],
    "repair": ["repair", "replace", "fix", "swap"],
    "driver_part": ["printer", "scanner", "webcam", "headset", "docking station", "label printer", "second monitor"],
    "office_machine": ["printer", "scanner", "label printer", "projector", "copier"],
}

# One block for each ordered pair: first what the help desk has to mend.
PAIR_TEXT = """
== password_reset + account_locked
strong
I {forgot} my {password} for {system}, please {reset} it before I get {locked_out}
my {password} {expired}{and} I (don't want to risk|am afraid of) too many attempts
{ask} send me a new {password} for {system}, I stopped guessing after {attempts} tries
{need_password} for {system}{because} I would rather not guess until I am {locked_out}
I {forgot} the {password} you sent me, and (one more wrong try|another typo) might be too many
how do I change my {password} (before|in time, before) {system} locks me out?
{person} has forgotten the {password} for {system} and does not dare to try again
middle
I {forgot} my {password}, and after {attempts} (tries|attempts) {system} locked me out for an hour
my {password} {expired_then} during my (holiday|leave) and the {account} will soon be {locked}
{need_password}{because} guessing the old one nearly locked my {account}
please {reset} my {password}, {system} has already (shown|given) me a lockout warning
I typed the old {password} {attempts} times and got a lockout message, please send me a new one
the reset link is no longer valid and {system} says one more failure locks the {account}
even
I {forgot} my {password} and now my {account} is {locked} (too|as well)
please {unlock} my {account} and send me a new {password}
my {password} {expired} and my {account} is {locked}, (both have to be|I need both) sorted {deadline}
after {attempts} wrong tries my {account} is {locked}{and} I don't know the right {password}
{system} says my {account} is {locked} and my {password} (is too old|must be changed|has expired)
{person} needs a new {password} and an unlocked {account} {deadline}

== account_locked + password_reset
strong
my {account} for {system} is {locked}, (maybe|perhaps) I typed the (old|wrong) {password}
please {unlock} my {account}, I know my {password} again
I am {locked_out} of {system} after {attempts} (failed|wrong) tries, my {password} itself is fine
{system} has locked me out {when} although the {password} is (correct|right)
my {account} is {locked} {when}, I only had caps lock on
{ask} {unlock} the {account} of {person} after {attempts} (mistyped logins|typos)
why is my {account} {locked} when I entered the right {password}?
middle
my {account} is {locked} since (I changed|the last change of) my {password}
my {account} is {locked}{because} my phone still uses the old {password}
please {unlock} my {account}, I mixed up the old and the new {password} {attempts} times
I am {locked_out} of {system} and the reset link does not (unlock|open) the {account}
{system} blocked me after {attempts} tries with an expired {password}
my {account} gets locked every morning, maybe the old {password} is still saved (somewhere|in {system})
even
my {account} is {locked} and I have (also |)forgotten the {password}
{ask} {unlock} my {account} and reset the {password}
I am {locked_out} of {system} and the {password} (has expired|ran out) in the meantime
{need_unlock}, and then I need a new {password} (too|as well)
first my {password} {expired}, then my {account} was {locked}, please (help with both|fix both)
{person} is {locked_out} of {system} and needs a new {password} {deadline}

== password_reset + vpn_access
strong
I forgot the {password} (for|of) {vpn}, please {reset} it
my {password} {expired_then} and I (noticed|saw) it only when I worked {remotely}
{ask} reset my {password}, I can't come to the office to change it
how can I {reset} my {password} when I work {remotely}?
{need_password} for {system}, I am working {remotely} this week
I {forgot} my {password}{and} the reset page does not open {remotely}
the {password} of {person} {expired}, (a reset|a new one) is needed {remotely}
middle
my {password} {expired_then} while I was travelling and {vpn} rejects the old one
{need_password}, {vpn} keeps asking for it and I {forgot} it
I {forgot} my {password}, so I can't sign in to {vpn}
how do I change my {password} over {vpn}? It expires tomorrow
please {reset} my {password}, {vpn} says my (credentials are|sign-in data is) wrong
I changed my {password} {remotely} and now {vpn} wants another one
even
{need_password} and also access to {vpn} {deadline}
my {password} {expired} and {vpn} {vpn_fails}, so I can't work {remotely}
I {forgot} my {password}{and} {vpn} {vpn_fails}
{person} needs a new {password} and {vpn} for working {remotely}
{ask} reset my {password} and check {vpn}, I can't reach {internal}
I don't know whether my {password} is (wrong|old) or {vpn} is down, I can't get in {remotely}

== vpn_access + password_reset
strong
{vpn} {vpn_fails} {remotely}, my {password} is correct
I can't reach {internal} {remotely}, although I typed my {password} (carefully|twice)
{ask} set up {vpn} for {person}, the {password} is already there
{vpn} {vpn_fails} right after I enter my {password}
{vpn} {vpn_fails} {when}, I already ruled out the {password}
I need access to {vpn} {deadline}, which {password} does it (use|take)?
how do I connect to {vpn} {remotely}? It asks for more than my {password}
middle
{vpn} {vpn_fails} since I changed my {password}
I can't reach {internal} {remotely}, {vpn} (asks|keeps asking) for a {password}
{vpn} says authentication failed although my {password} is new
{vpn} stops with error {error_code} since the {password} reset
please set up {vpn} for {person} and send the {password} along
{vpn} still (wants|expects) my old {password} and won't let me reach {internal}
even
{vpn} {vpn_fails} and my {password} is about to (expire|run out) too
I need {vpn} for working {remotely} and a new {password} for it
I can't connect to {vpn}{and} I am not sure that I remember my {password}
{ask} give me access to {vpn} and reset my {password} {deadline}
{vpn} rejects me, either the tunnel or my {password} is the problem
I can't reach {internal} {remotely}, and {system} says my {password} expired

== password_reset + wifi_problem
strong
I {forgot} the {password} that I use for the {wifi}
{need_password}{because} I changed it and only my phone on the {wifi} knows it
my {password} {expired_then}, I noticed it at the {wifi} login
where can I change the {password} for the {wifi} (login|sign-in)?
{ask} reset my {password} for {system}, I am on the {wifi} in {room}
I {forgot} my {password} for {system}, the reset mail was lost when the {wifi} dropped
how do I get a new {password} for the {wifi}? The old one expired
middle
my {password} {expired} and the {wifi} asks for the new one
please {reset} my {password}, the {wifi} (does not accept|rejects) it
I changed my {password}{and} the {wifi} still wants the old one, which I forgot
I {forgot} my {password}, so my {device} can't join the {wifi}
my {password} must be renewed, but the reset page hardly loads over the {wifi}
{need_password}, since the last change the {wifi} signs me out
even
I {forgot} my {password} and the {wifi} in {room} {wifi_fails} too
{need_password}, and please check the {wifi} in {room}
my {password} {expired}{and} {no_wifi} in {room}
I can't reset my {password}{because} the {wifi} in {room} {wifi_fails}
is my {password} wrong or is the {wifi} in {room} down? I can't sign in
my {device} asks for a {password} that I forgot and then loses the {wifi}

== wifi_problem + password_reset
strong
the {wifi} in {room} {wifi_fails}, I have already typed the {password} again
my {device} loses the {wifi} in {room}, the {password} is not the problem
{no_wifi} in {room}, not even the login page with the {password} shows up
the {wifi} in {room} keeps dropping {when}, and each time I must enter my {password}
my {device} does not find the {wifi}, it never asks for a {password}
{ask} check the {wifi} in {room}, every page hangs, even the {password} page
why does the {wifi} in {room} drop although the {password} is saved?
middle
the {wifi} in {room} keeps asking for my {password} and then drops
my {device} can't join the {wifi} since the {password} (change|reset)
the {wifi} {wifi_fails}, so I can't open the {password} reset page
the guest {wifi} does not let us in, did its {password} change?
my {device} connects to the {wifi} only after I type the {password} {attempts} times
since the new {password} the {wifi} throws my {device} out every few minutes
even
the {wifi} in {room} {wifi_fails} and I have forgotten my {password} too
my {device} can't join the {wifi}, and my {password} has expired
{no_wifi} in {room}{and} I need a new {password} for {system}
please check the {wifi} in {room} and reset my {password}
the {wifi} rejects my {device}, it is either the signal or my {password}
we need the {wifi} in {room} repaired and a new {password} for it {deadline}

== password_reset + software_install
strong
I {forgot} the {password} for {app}, please {reset} it
{need_password} for {app}, the {program} itself (works|runs) fine
my {password} for {app} {expired_then}, it (told|asked) me when I opened it
how do I {reset} the {password} in the new version of {app}?
{ask} send {person} a new {password} for {app}
I {forgot} my {password}, {app} no longer has it saved after the update
my {password} for {system} {expired} and {app} keeps asking for the new one
middle
the update of {app} signed me out and I {forgot} my {password}
{need_password} to (activate|start) the {program} I just got
the setup of {app} wants my {password}, but it expired
after I installed {app} again it does not accept my {password}, please {reset} it
my {password} does not work in the new version of {app}, I need another one
I {forgot} the {password} that {app} needs for its license
even
{need_password}, and please install {app} on my {device}
I {forgot} my {password} for {app}{and} the {program} must be updated too
my {password} {expired} and the update of {app} {setup_fails}
{person} needs {app} and a {password} for it {deadline}
{ask} reset my {password} and renew my license for {app}
{app} has to be installed again{and} I no longer have the {password} for it

== software_install + password_reset
strong
{ask} install {app} on my {device}, it asks for an admin {password}
the {setup} of {app} {setup_fails} after I enter my {password}
I need a license for {app} {deadline}, my {password} for it works
please update {app} on the {device} of {person}, no {password} needed
I want to install a {password} manager on my {device}, is that allowed?
the installation of {app} stops{because} the admin {password} is missing
my license for {app} has run out, the login itself is fine
middle
the setup of {app} asks for a {password} (that I don't have|I never got)
please update {app}, the old version (does not take|rejects) my new {password}
the installation of {app} {setup_fails} since I changed my {password}
I need {app} on my {device} {deadline}, and then the {password} for it
I can't activate {app}, the license page does not take my {password}
please install the {program} that we use to reset a {password}
even
please install {app} and send me a new {password} for it
the update of {app} {setup_fails} and I have forgotten my {password} too
I need a license for {app}, and my {password} has expired
{app} must be installed again{and} I {forgot} the {password} for it
{person} needs {app} installed and the {password} reset {deadline}
{app} does not start, I need either a new version or a new {password}

== password_reset + hardware_fault
strong
I forgot my {password} while my {device} was away for repair
{need_password}, I have a replacement {device} now
my {password} {expired_then} while the {device} was (in repair|being repaired)
the new {device} wants a {password} that I don't remember
I {forgot} my {password}, it was only saved on my old {device} that {device_dead}
please reset my {password}, I can't tell what I typed on the old keyboard
how do I {reset} my {password} on a borrowed {device}?
middle
my {password} was saved on my {device}, which {device_dead}, so I need a new one
I chose a new {password}, but {key} {stuck} and I don't know what I typed
please {reset} my {password} for now, {key} {stuck} and I can't type it
the paper with my {password} got wet together with my {device}, please send a new one
my {device} {device_dead}, and on the spare one I {forgot} my {password}
I set a new {password} on a faulty keyboard and now it does not match
even
{need_password}, and the {part} has to be repaired too
I {forgot} my {password}{and} my {part} is {broken}
my {password} {expired} and I can't type a new one, {key} {stuck}
please {reset} my {password} and {repair} the {part} {deadline}
is my {password} wrong or is the keyboard defective? I can't log in
{person} needs a new {password} and a new {part} {deadline}

== hardware_fault + password_reset
strong
the (keyboard|screen|touchpad) is {broken}, I noticed it when I typed my {password}
the screen stays black after I enter my {password}
my {device} {device_dead} before it even asks for my {password}
{ask} {repair} the keyboard, {key} {stuck} and that letter is in my {password}
my {device} {device_fails} as soon as I have entered the {password}
my keyboard types (double letters|the wrong letters), even in the {password} field
can I get a replacement {device}? Mine {device_dead}, I know my {password}
middle
the keyboard is {broken} and I can't type my {password}
some keys are stuck, so my {password} is always wrong
my {device} {device_dead} and my {password} was saved on it
the fingerprint reader is {broken}, so I have to type a {password} I hardly know
please {repair} the keyboard, {key} {stuck} and my {password} gets rejected
the card reader is {broken} and I don't know the {password} for signing in without it
even
the {part} is {broken} and I need a new {password} too
my {device} {device_dead}, and I {forgot} the {password} for the spare one
please {repair} the {part} and reset my {password}
{key} {stuck}{and} my {password} has expired
I can't log in, either the keyboard is {broken} or my {password} is wrong
my {part} is {broken}{and} {system} wants a new {password} {deadline}

== account_locked + vpn_access
strong
my {account} is {locked}, I noticed it when I worked {remotely}
please {unlock} my {account}, I have to work {remotely} tomorrow
I am {locked_out} of {system} {when}, also {remotely}
{system} says my {account} is {locked}, and I can't come to the office
{person} is travelling and the {account} is {locked}, please {unlock} it
why is my {account} {locked}? I only signed in {remotely}
I am {locked_out} of {system} after {attempts} tries {remotely}
middle
my {account} got locked when I dialled in {remotely}
my {account} for {vpn} is {locked}
{vpn} says my {account} is {locked}, please {unlock} it
I am {locked_out} after {attempts} wrong logins over {vpn}
my {account} is {locked} since I used {vpn} abroad
please {unlock} my {account}, I am working {remotely} and need {vpn}
even
my {account} is {locked} and {vpn} {vpn_fails}
please {unlock} my {account}, and I (also |)need access to {vpn} {deadline}
I am {locked_out} of {system}{and} {vpn} {vpn_fails} {remotely}
first {vpn} dropped, then my {account} was {locked}, please fix both
{ask} {unlock} my {account} and check {vpn}, I can't reach {internal}
is my {account} {locked} or is {vpn} down? I can't get in {remotely}

== vpn_access + account_locked
strong
{vpn} {vpn_fails} {remotely}, my {account} works everywhere else
I can't reach {internal} {remotely}, my {account} is not blocked in the office
{ask} enable {vpn} for the {account} of {person}
{vpn} {vpn_fails} {when}, you said the {account} is active
I need access to {vpn} {deadline}, is my {account} cleared for it?
{vpn} {vpn_fails} {remotely}, and I stopped after {attempts} tries
how can {person} with a new {account} get {vpn} for working {remotely}?
middle
{vpn} {vpn_fails}, maybe my {account} is {locked}
I can't reach {internal} {remotely}, {vpn} says user disabled
{vpn} stops with error {error_code} since my {account} was unlocked
please give me access to {vpn} again, it was blocked for my {account}
{vpn} {vpn_fails} {remotely} and after {attempts} tries it blocks me for an hour
my remote access was blocked and {vpn} (won't|does not) let me reach {internal}
even
{vpn} {vpn_fails} and my {account} is {locked} too
I need {vpn} {remotely}, but my {account} is {locked}
I can't connect to {vpn}{and} {system} says my {account} is {locked}
{ask} set up {vpn} for {person} and {unlock} the {account}
{vpn} refuses me, either the tunnel is down or my {account} is {locked}
please get {vpn} running again and {unlock} my {account} {deadline}

== account_locked + wifi_problem
strong
my {account} is {locked}, I noticed it at the {wifi} login
I am {locked_out} of {system}, the {wifi} itself works
please {unlock} my {account}, I tried it by cable and over the {wifi}
{system} says my {account} is {locked} {when}, no matter which {wifi} I use
my {account} is {locked} after {attempts} logins from my {device} in {room}
why is my {account} {locked}? The internet in {room} works fine
{person} is {locked_out} of {system}, it happened on the {wifi} in {room}
middle
my {device} tried to join the {wifi} too often and now my {account} is {locked}
my {account} gets locked whenever my {device} joins the {wifi}
my {account} is {locked}{and} the {wifi} refuses me too
please {unlock} my {account}, I can't even use the {wifi} without it
the {wifi} login failed {attempts} times and locked my {account}
the {wifi} dropped while I signed in {attempts} times, now I am {locked_out}
even
my {account} is {locked} and the {wifi} in {room} {wifi_fails}
{need_unlock}, and please look at the {wifi} in {room}
I am {locked_out} of {system}{and} {no_wifi} in {room}
is my {account} {locked} or is the {wifi} in {room} down? I can't sign in
please {unlock} my {account} and get my {device} back on the {wifi}
the {wifi} in {room} {wifi_fails}, and {system} has locked me out too

== wifi_problem + account_locked
strong
the {wifi} in {room} {wifi_fails}, for all of us, not only for my {account}
my {device} does not find the {wifi}, my {account} is fine
{no_wifi} in {room} {when}, nobody is blocked as far as I know
the {wifi} in {room} {wifi_fails} and I have to log in again each time
{ask} check the {wifi} in {room}, it drops before my {account} is accepted
my {device} loses the {wifi}, with the {account} of {person} too
why does the {wifi} in {room} throw me out after every login?
middle
my {device} can't join the {wifi}, it says the user is {locked}
the {wifi} {wifi_fails}, and after {attempts} new logins it shuts me out
the guest {wifi} has blocked my {device} and I get no signal
the {wifi} in {room} drops and then refuses my {account}
there is no {wifi} on my {device} {when}, was it blocked?
my {device} was thrown off the {wifi}, perhaps because my {account} is {locked}
even
the {wifi} in {room} {wifi_fails} and my {account} is {locked} too
my {device} can't join the {wifi}{and} I am {locked_out} of {system}
please repair the {wifi} in {room} and {unlock} my {account}
{no_wifi} in {room}, and {system} says my {account} is {locked}
the {wifi} refuses my {device}, either the signal is bad or my {account} is {locked}
after the {wifi} dropped {attempts} times I am now {locked_out} of {system} too

== account_locked + software_install
strong
my {account} for {app} is {locked}, please {unlock} it
{app} says my {account} is {locked}, the {program} itself runs
I am {locked_out} of {app} {when}, my license is valid
please {unlock} the {account} of {person} in {app}
my {account} is {locked}, I saw the message when I opened {app}
why is my {account} {locked}? I only started {app}
I am {locked_out} of {system} and need {app} {deadline}
middle
my {account} is {locked} since the update of {app}
after I installed {app} my {account} was {locked}
please {unlock} my {account} so that I can activate {app}
the new version of {app} tried my login {attempts} times, now my {account} is {locked}
my {account} got locked when the license of {app} ran out
I am {locked_out}{because} the setup of {app} used a wrong login
even
my {account} is {locked} and {app} must be updated too
{need_unlock}, and please install {app} on my {device}
I am {locked_out} of {system}{and} the {setup} of {app} {setup_fails}
{person} needs an unlocked {account} and a license for {app} {deadline}
is my {account} {locked} or has the license of {app} run out?
please {unlock} my {account} and put {app} on my {device} again

== software_install + account_locked
strong
please install {app} on my {device}, my {account} has no rights for that
the {setup} of {app} {setup_fails}, I am logged in with my normal {account}
I need a license for {app} on my {account} {deadline}
{ask} update {app} for {person}, the {account} is ready
I can't install {app} on my {device}, my {account} is not an admin
how can I get {app}? Downloads are blocked for my {account}
the {setup} of {app} {setup_fails} {when}, my {account} still works
middle
the setup of {app} stops{because} my {account} is {locked} for installations
the update of {app} {setup_fails}, it says user {locked}
I need a new license for {app}, the old one is tied to a blocked {account}
please install {app} again, it signs me out and calls my {account} {locked}
I can't activate {app}, the license server says my {account} is {locked}
after {attempts} failed activations {app} has blocked my license
even
please install {app} and {unlock} my {account} for it
the {setup} of {app} {setup_fails} and my {account} is {locked} too
I need {app} on my {device}{and} my {account} is {locked}
{app} does not start, either the license has run out or my {account} is {locked}
{person} needs {app}, and the {account} for it is {locked}
please update {app} {deadline}, and then {unlock} my {account}

== account_locked + hardware_fault
strong
my {account} is {locked}, I am writing from a borrowed {device}
please {unlock} my {account}, I have a new {device} and logged in wrongly {attempts} times
I am {locked_out} of {system} {when}, my old {device} is in repair
my {account} is {locked} since I got my {device} back from repair
{system} says my {account} is {locked} on the replacement {device}
why is my {account} {locked}? I only plugged in a new keyboard
{ask} {unlock} the {account} of {person}, the typos came from an old keyboard
middle
my {account} is {locked}{because} {key} {stuck}
I am {locked_out}, my keyboard typed every letter twice
my {account} was {locked} after my {device} crashed during the login
please {unlock} my {account}, the faulty keyboard was to blame
my {account} is {locked} since the card reader failed {attempts} times
the cat on my keyboard (broke a key and |)locked my {account}
even
my {account} is {locked} and my {part} is {broken}
{need_unlock}, and the {part} has to be replaced too
I am {locked_out} of {system}{and} my {device} {device_fails}
please {unlock} my {account} and {repair} the {part} {deadline}
{key} {stuck} and now my {account} is {locked}, I need help with both
{person} has a defective {part} and is {locked_out} of {system} too

== hardware_fault + account_locked
strong
my {device} {device_dead}, my {account} works on other machines
the {part} is {broken} {when}, nothing is wrong with my login
please {repair} my keyboard, {key} {stuck} and I mistype my login
the (keyboard|screen|touchpad) of my {device} is {broken}, can I log in on a spare one with my {account}?
my {device} {device_fails} right after I log in to my {account}
{key} {stuck}, so every login takes me {attempts} tries
{ask} {repair} the card reader, I can hardly log in without it
middle
my keyboard is {broken} and it has already locked me out once
the card reader is {broken}, so I am {locked_out}
please {repair} my keyboard, the stuck key keeps locking my {account}
my {device} {device_fails} and then {system} says my {account} is {locked}
the fingerprint reader is {broken} and after {attempts} tries it locks me out
the keyboard types double letters, soon my {account} will be {locked}
even
my {part} is {broken} and my {account} is {locked} too
my {device} {device_dead}{and} I am {locked_out} of {system}
please {repair} the {part} and {unlock} my {account} {deadline}
{key} {stuck}, and by now my {account} is {locked}
I can't log in, either the keyboard is {broken} or my {account} is {locked}
{person} needs a working {part} and an unlocked {account} {deadline}

== vpn_access + wifi_problem
strong
{vpn} {vpn_fails} {remotely}, my internet is fine
I can't reach {internal} {remotely}, browsing over the {wifi} works
{vpn} {vpn_fails} {when}, by cable and over the {wifi}
I need access to {vpn} {deadline}, I will use it on a hotel wifi
{vpn} {vpn_fails} on every network, not only on my wifi
how do I start {vpn} on a public wifi?
{ask} set up {vpn} for {person}, the wifi at home is good enough
middle
{vpn} drops whenever my wifi at home gets weak
{vpn} works by cable but not over the wifi at home
{vpn} {vpn_fails} on the hotel wifi, I can't reach {internal}
I can't reach {internal} {remotely}, perhaps my wifi is too slow for {vpn}
{vpn} is slow {remotely} although the wifi shows full signal
after a short wifi dropout {vpn} (never comes back|does not reconnect)
even
{vpn} {vpn_fails} and the wifi drops too, so I can't work {remotely}
I need {vpn} {remotely} and a better wifi for my {device}
I can't reach {internal}, either {vpn} or the {wifi} is down
please check {vpn} and the {wifi}, my {device} loses both
{vpn} {vpn_fails}{and} the {wifi} in {room} {wifi_fails}
first the wifi goes, then {vpn} {vpn_fails}, please look at both

== wifi_problem + vpn_access
strong
the {wifi} in {room} {wifi_fails}, with or without {vpn}
my {device} loses the {wifi} in {room}, {remotely} it works
{no_wifi} in {room} {when}, I now have to work {remotely}
the {wifi} in {room} {wifi_fails}, I am not using {vpn} there
{ask} check the {wifi} in {room}, my {device} only gets online {remotely}
why is the {wifi} in {room} slower than my internet at home?
the {wifi} {wifi_fails} in {room}, I can hardly open {internal}
middle
the {wifi} in {room} is so slow that {vpn} drops
my {device} loses the {wifi} and then {vpn} is gone
the {wifi} in {room} is down, so {vpn} can't start either
the guest {wifi} in {room} is weak and I need {vpn} on it
the {wifi} of my {device} drops whenever I start {vpn}
the {wifi} in {room} seems to block {vpn}
even
the {wifi} in {room} {wifi_fails} and {vpn} {vpn_fails}
{no_wifi} in {room}{and} I can't reach {internal} {remotely}
please repair the {wifi} in {room} and give me access to {vpn}
my {device} loses both the {wifi} and {vpn} {when}
is it the {wifi} in {room} or {vpn}? I can't reach {internal}
we need a stable {wifi} in {room} and {vpn} for {person} {deadline}

== vpn_access + software_install
strong
{vpn} {vpn_fails} {remotely}, the newest version is installed
{need_vpn} {remotely} to work with {app}
I can't reach {internal} {remotely}, {app} can't find its files
{vpn} {vpn_fails} {when}, reinstalling it did not help
{ask} give {person} access to {vpn}, {app} is needed {remotely}
how do I use {vpn} {remotely}? The program is already there
{vpn} {vpn_fails} as soon as I open {app}
middle
{vpn} {vpn_fails} since the update of {app}
I want to work {remotely} with {vpn}, which {program} do I need?
{vpn} stops with error {error_code} after I installed {app}
I can't reach {internal} {remotely} with the new version of {vpn_client}
please give me access to {vpn}, the license check of {app} needs it
{vpn} {vpn_fails}, perhaps {vpn_client} is out of date
even
I need access to {vpn} and {app} installed {deadline}
{vpn} {vpn_fails}{and} the {setup} of {app} {setup_fails}
{ask} set up {vpn} for {person} and install {app}
I can't reach {internal} {remotely}, and my license for {app} has run out
{vpn} {vpn_fails}, do I need access rights or a new version of {vpn_client}?
to work {remotely} I need {vpn} and a license for {app}

== software_install + vpn_access
strong
please install {app} on my {device}, I work {remotely}
the {setup} of {app} {setup_fails} {remotely}
I need a license for {app} {deadline}, I will use it {remotely}
{ask} update {app} on the {device} of {person} who works {remotely}
the {setup} of {app} {setup_fails}, with and without {vpn}
can you install {app} on my {device} while I work {remotely}?
my license for {app} has run out, I am working {remotely} (this week|until Monday)
middle
please install {vpn_client} on my {device}
the installation of {vpn_client} {setup_fails}
please update {vpn_client} to the newest version {deadline}
the download of {app} stops{because} {vpn} is so slow
I can't install {app} {remotely} without {vpn}
the license of {app} is only found when {vpn} is on
even
please install {app} and give me access to {vpn} {deadline}
the {setup} of {app} {setup_fails}{and} {vpn} {vpn_fails}
please install {vpn_client} on my {device}, I can't reach {internal} {remotely}
I need {app} on my {device}, and then {vpn} to use it {remotely}
{person} needs a license for {app} and access to {vpn}
{app} won't update {remotely}, is it the installer or {vpn}?

== vpn_access + hardware_fault
strong
{vpn} {vpn_fails} {remotely}, my {device} is brand new
I can't reach {internal} {remotely}, with my spare {device} it is the same
{vpn} {vpn_fails} {when}, restarting the {device} does not help
I need access to {vpn} on my replacement {device} {deadline}
{ask} set up {vpn} on the new {device} of {person}
how do I get {vpn} on a borrowed {device}? I have to work {remotely}
{vpn} {vpn_fails} on two machines, so the {device} is not to blame
middle
{vpn} {vpn_fails} since my {device} came back from repair
{vpn} drops whenever I put my {device} in the docking station
I can't reach {internal} {remotely}, the token for {vpn} fell down
{vpn} {vpn_fails} since my {device} {dropped}
{vpn} freezes and then my {device} gets very hot
please move {vpn} to another {device}, mine is going in for repair
even
{vpn} {vpn_fails} and my {part} is {broken}
my token for {vpn} is {broken}, I can't work {remotely}
I need access to {vpn} and a new {part} for my desk at home
I can't reach {internal} {remotely}, and my {device} {device_fails}
is {vpn} down or is the network socket of my {device} {broken}?
{person} works {remotely} and needs {vpn} and a new {part}

== hardware_fault + vpn_access
strong
the {part} is {broken} and I work {remotely}
my {device} {device_dead}, and I am working {remotely}
{ask} send a new {part} to my home, I work {remotely}
the {part} of {person}, who works {remotely}, is {broken}
my {device} {device_fails}, both in the office and {remotely}
who can {repair} my {part} when I work {remotely}?
the {part} is {broken} {when}, the connection to the company is fine
middle
my {device} {device_fails} whenever {vpn} is on
my {device} crashes as soon as I start {vpn}
the {part} is {broken}, and the spare {device} can't use {vpn} yet
my {device} {dropped}, now I can't work {remotely} over {vpn}
the network card of my {device} is {broken}, so {vpn} is useless
the smart card reader is {broken} and {vpn} needs it
even
the {part} is {broken} and {vpn} {vpn_fails}
my {device} {device_dead}, I need a new one with {vpn} {deadline}
please {repair} the {part} and set up {vpn} for me
my {device} {device_fails}{and} I can't reach {internal} {remotely}
the security token is {broken}, please replace it and enable {vpn} again
I work {remotely}, my {part} is {broken}, and {vpn} {vpn_fails}

== wifi_problem + software_install
strong
the {wifi} in {room} {wifi_fails}, {app} can't go online
my {device} does not find the {wifi}, all updates are installed
{no_wifi} in {room} {when}, {app} says offline
the {wifi} in {room} {wifi_fails}, in {app} and in the browser
{ask} check the {wifi} in {room}, calls in Teams break off
why is the {wifi} in {room} so slow? {app} takes minutes to open
the {wifi} in {room} {wifi_fails} whenever {person} uses {app}
middle
the {wifi} in {room} is too slow for the download of {app}
my {device} does not find the {wifi} since the last update
my {device} loses the {wifi} since I installed {app}
the {wifi} in {room} dropped in the middle of the installation of {app}
the {wifi} of my {device} {wifi_fails}, do I need a new driver?
{no_wifi} in {room}, so the update of {app} can't load
even
the {wifi} in {room} {wifi_fails}{and} the {setup} of {app} {setup_fails}
please repair the {wifi} in {room} and install {app} on my {device}
my {device} needs a better {wifi} and a new version of {app}
{no_wifi} in {room}, and my license for {app} has run out
we need {wifi} in {room} and {app} on all machines {deadline}
{app} won't load, either the {wifi} is too weak or it needs an update

== software_install + wifi_problem
strong
please install {app} on my {device}, I am in {room}
the {setup} of {app} {setup_fails}, by cable as well
the {setup} of {app} {setup_fails}, the {wifi} is fast enough
I need a license for {app} {deadline}, also for use offline
{ask} update {app}, I have tried it twice over the {wifi}
can I install {app} by cable? The download is large
please install {app} for {person}, the {device} is on the {wifi}
middle
the download of {app} stops{because} the {wifi} is weak
please install a new wireless driver on my {device}
the update of {app} {setup_fails} over the {wifi}
please install {app} by cable, the {wifi} in {room} is too slow
I need a (tool|program) to measure the {wifi} in {room}
the {setup} of {app} {setup_fails} each time the {wifi} drops
even
please install {app} on my {device} and look at the {wifi} in {room}
the {setup} of {app} {setup_fails}{and} the {wifi} {wifi_fails}
I need a license for {app}, and my {device} loses the {wifi}
my {device} needs the wireless driver installed, it finds no {wifi}
{person} needs {app}, but {no_wifi} in {room} for the download
please update {app} {deadline} and fix the {wifi} in {room}

== wifi_problem + hardware_fault
strong
the {wifi} in {room} {wifi_fails}, on all machines, so it is not my {device}
my {device} does not find the {wifi}, otherwise it runs fine
{no_wifi} in {room} {when}, and my new {device} has the same trouble
the {wifi} in {room} {wifi_fails}, restarting the router did not help
{ask} check the {wifi} in {room}, the {office_machine} goes offline too
why does my {device} lose the {wifi} in {room}? It is quite new
the {wifi} in {room} {wifi_fails}, the lamp on the router is red
middle
the {wifi} in {room} is down, maybe the router is {broken}
my {device} does not find the {wifi} since it {dropped}
the access point in {room} is {broken} and there is no signal
the {wifi} is weak since my {device} was repaired
there is no {wifi} on my {device}, the antenna may be {broken}
the {wifi} drops whenever my {device} gets hot
even
the {wifi} in {room} {wifi_fails}{and} my {part} is {broken}
please repair the {wifi} in {room} and {repair} my {part}
{no_wifi} in {room}, and the {office_machine} there is {broken} too
my {device} loses the {wifi} and then {device_fails}
is the {wifi} in {room} bad or is the wireless card of my {device} {broken}?
we need a better {wifi} in {room} and a new {office_machine} {deadline}

== hardware_fault + wifi_problem
strong
the {part} is {broken}, the {wifi} still works
my {device} {device_dead}, it was on the {wifi} until then
the {office_machine} in {room} is {broken}, the {wifi} there is fine
my {device} {device_fails}, with cable and with {wifi}
{ask} {repair} the {office_machine} in {room}, it shows a red light although it is online
my {device} {dropped} in {room}, now the (screen|hinge|display) is {broken}
who can {repair} the {office_machine} in {room}? It is not the network
middle
the wireless card of my {device} is {broken}
my {device} gets very hot and then loses the {wifi}
the {office_machine} no longer prints over the {wifi} and blinks red
the router in {room} {dropped} and no longer lights up
the antenna of my {device} broke off and the signal is weak
my {device} {device_fails} whenever it looks for a {wifi}
even
my {part} is {broken}{and} the {wifi} in {room} {wifi_fails}
please {repair} the {part} and check the {wifi} in {room}
my {device} {device_fails} and it also loses the {wifi}
the access point in {room} is {broken}, please replace it, {no_wifi}
my {device} finds no {wifi}, either its antenna is {broken} or the signal is bad
{person} needs a new {part}, and {no_wifi} in {room}

== software_install + hardware_fault
strong
please install {app} on my new {device}
the {setup} of {app} {setup_fails}, the {device} itself is new
I need a license for {app} on my replacement {device} {deadline}
{ask} update {app}, my {device} works otherwise
please put {app} on the {device} of {person}, it came back from repair without it
can {app} be installed on a {device} that is quite old?
the {setup} of {app} {setup_fails}, I have enough disk space
middle
please install the driver for my {driver_part}
the update of {app} {setup_fails} since my {device} was repaired
I need the {program} for the new {driver_part}
the setup of {app} freezes, maybe the disk is {broken}
please put {app} on my new {device}, the old one {device_dead}
the {driver_part} needs a new driver, it is not recognized
even
please install {app} and {repair} my {part}
the {setup} of {app} {setup_fails}{and} my {device} {device_fails}
I need a license for {app}, and the {part} is {broken}
the {driver_part} does not work, do I need a driver or a new one?
{person} needs {app} installed and a new {part} {deadline}
please update {app} {deadline}, and look at my {device}, it {device_fails}

== hardware_fault + software_install
strong
the {part} is {broken}, new drivers do not help
my {device} {device_dead}, I can't open {app}
my {device} {device_fails} {when}, no matter which {program} I use
please {repair} my {part}, I need it for {app}
the screen flickers, in {app} and everywhere else
{ask} {repair} the {driver_part} of {person}, the driver is already installed
why does my {device} get so hot? I only use {app}
middle
the {driver_part} is not recognized, even with the new driver
my {device} {device_fails} since the update of {app}
my {device} crashes during the installation of {app}
the disk of my {device} is {broken} and {app} is gone
the screen flickers whenever I start {app}, since the last update
my {device} is too weak for the new version of {app} and {device_fails}
even
the {part} is {broken}{and} {app} must be installed again
my {device} {device_dead}, I need a new one with {app} on it
please {repair} my {part} and update {app}
my {device} {device_fails}{and} the {setup} of {app} {setup_fails}
is my {driver_part} {broken} or does it only need a driver?
{person} needs a new {part} and a license for {app} {deadline}
"""

# Sentences that say nothing about the class.
OPENINGS = ["Hi,", "Hello,", "Hi team,", "Dear help desk,", "Good morning,", "Hello IT,", "Sorry to bother you,",
            "Urgent:", "Hi there,", "Dear colleagues,", "Good afternoon,"]
CLOSINGS = ["Thanks", "Thank you", "Many thanks", "Thanks in advance", "It is urgent", "I have a meeting soon",
            "I need this solved {deadline}", "Please call me back", "I work in {department}", "Customers are waiting",
            "What can I do?", "Can you help?", "Who can help me?", "Please help me", "I am in a meeting until noon",
            "It has been like this {when}", "I have a deadline to meet", "Any idea?", "No hurry",
            "My boss is waiting", "I have no idea what to do", "A quick reply would be great"]
# Added where the ticket names a problem of the class but asks for nothing yet.
REQUESTS: dict[str, list[str]] = {
    "password_reset": ["Please send me a reset link", "Please set a new one for me", "Can you reset it?",
                       "How do I get a new {password}?", "I need a new one {deadline}"],
    "account_locked": ["Please let me back in", "Can you lift the lock?", "Please free it again",
                       "How do I get back in?", "Please lift the lock {deadline}"],
    "vpn_access": ["Please get me connected", "How do I get into the company network?",
                   "Can you check my remote access?", "I have to reach {internal} {deadline}"],
    "wifi_problem": ["Can someone check the access point?", "Please look at the signal there",
                     "We need a stable connection", "Can you check the router?"],
    "software_install": ["Can someone do the installation for me?", "Please do it over remote control",
                         "I need the {program} {deadline}", "Which version do I need?"],
    "hardware_fault": ["Please send a replacement", "Can someone come and look at it?", "I need a spare one {deadline}",
                       "Can it be repaired?", "Where can I bring it?"],
}

QUESTION_START = re.compile(
    r"(could|can|would|how|where|what|which|who|why|is|are|am|do|does|did|any|may|was)\s", re.IGNORECASE)
ASKS_ALREADY = re.compile(r"\?|\b(please|could|can (you|some)|would you|i need|needs?|i want|must be)\b", re.IGNORECASE)
LOCAL_SLOT = re.compile(r"\{(" + "|".join(LOCAL_SLOTS) + r")\}")
CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")


def read_templates(text: str) -> dict[tuple[str, str], dict[Strength, list[str]]]:
    """Parse PAIR_TEXT: templates by ordered pair of classes and by strength."""
    templates: dict[tuple[str, str], dict[Strength, list[str]]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("== "):
            major, minor = line[3:].split(" + ")
            by_strength = templates.setdefault((major, minor), {"strong": [], "middle": [], "even": []})
        elif line in by_strength:
            current = by_strength[line]
        else:
            current.append(line)
    return templates


TEMPLATES = read_templates(PAIR_TEXT)


def expand(template: str, rng: Rng) -> str:
    """Fill in the slots of this file, the choices, then the slots of tickets.py."""
    text = template
    while LOCAL_SLOT.search(text) or CHOICE.search(text):
        text = LOCAL_SLOT.sub(lambda match: rng.choice(LOCAL_SLOTS[match[1]]), text)
        text = CHOICE.sub(lambda match: rng.choice(match[1].split("|")), text)
    return fill(text, rng)


def tidy(text: str) -> str:
    """Single spaces, a/an, capitals and end marks of every sentence."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r" ([,.?!])", r"\1", text)
    # "can you do X, Y" is a question X and a statement Y
    text = re.sub(r"^((?:can|could|would) (?:you|some)[^,.?]*), (?!and |but )", r"\1? ", text, flags=re.IGNORECASE)
    text = re.sub(r"\b([Aa]) (?=[aeioAEIO])", r"\1n ", text)
    sentences = re.split(r"(?<=[.?!]) ", text)
    tidied = []
    for sentence in sentences:
        body = sentence.rstrip(".")
        if body[-1] not in "?!":
            body += "?" if QUESTION_START.match(body) else "."
        tidied.append(body[0].upper() + body[1:])
    return " ".join(tidied)


def dress(template: str, major: str, strength: Strength, rng: Rng) -> str:
    """Expand; add an opening, a request or a neutral sentence; vary the typing."""
    text = tidy(expand(template, rng))
    asks = "{person}" in template or bool(ASKS_ALREADY.search(text))
    request_rate = {"strong": 0.3, "middle": 0.2, "even": 0.0}[strength]
    if not asks and rng.random() < request_rate:
        text += " " + tidy(expand(rng.choice(REQUESTS[major]), rng))
    elif rng.random() < 0.22:
        closing = rng.choice(CLOSINGS)
        # a second question or a second date would read oddly
        if not ("?" in closing and "?" in text or "{when}" in closing and re.search(r"\b(since|for) ", text)
                or "{deadline}" in closing and re.search(r"\b(by|before|until) ", text)):
            text += " " + tidy(expand(closing, rng))
    if rng.random() < 0.15:
        text = rng.choice(OPENINGS) + " " + small_start(text)
    return vary_typing(text, rng)


def small_start(text: str) -> str:
    """Lower the first letter, except of "I" and of names such as Excel or VPN."""
    first_word = re.split(r"[^\w-]", text)[0]
    return text if first_word in PROPER_STARTS or first_word[1:2].isupper() else text[0].lower() + text[1:]


PROPER_STARTS = {"I"} | {
    name.split()[0] for slot in ("app", "system", "vpn", "internal", "person")
    for name in SLOTS[slot] + LOCAL_SLOTS["vpn_client"] if name[0].isupper()}


def vary_typing(text: str, rng: Rng) -> str:
    """Full forms, lower case, missing or stronger end marks, now and then."""
    if rng.random() < 0.15:
        for short, full in (("can't", "cannot"), ("won't", "will not"), ("don't", "do not")):
            text = text.replace(short, full)
    chance = rng.random()
    if chance < 0.06:
        text = text.lower()
    elif chance < 0.14:
        text = small_start(text)
    chance = rng.random()
    if chance < 0.15 and text.endswith("."):
        text = text[:-1]
    elif chance < 0.19 and text.endswith("."):
        text = text[:-1] + "!"
    return text


def pick_strength(percent: int, rng: Rng) -> Strength:
    """The strength for a percentage, with a soft edge to the neighbours."""
    blurred = percent + rng.choice([-5, 0, 0, 0, 0, 5])
    return "strong" if blurred >= 78 else "middle" if blurred >= 63 else "even"


def boundary_text(major: str, minor: str, percent: int, rng: Rng) -> str:
    drift = DRIFT_EVEN if percent <= 60 else DRIFT_MIDDLE if percent <= 75 else DRIFT_STRONG
    if rng.random() < drift:
        major, minor = minor, major
        strength = rng.choice(["strong", "middle"])
    else:
        strength = pick_strength(percent, rng)
        if percent == 50 and rng.random() < 0.5:
            major, minor = minor, major
    return dress(rng.choice(TEMPLATES[major, minor][strength]), major, strength, rng)


def nearly_pure_text(major: str, minor: str, percent: int, rng: Rng) -> str:
    if rng.random() < (0.3 if percent == 95 else 0.08):
        return dress(rng.choice(TEMPLATES[major, minor]["strong"]), major, "strong", rng)
    return " ".join(ticket(major, rng, 0.0).split())


def mix(major: str, minor: str, percent: int, rng: Rng) -> str:
    """One help-desk text that is `percent` % `major` and the rest `minor`."""
    if percent % 5 or not 50 <= percent <= 100:
        raise ValueError(f"percent must be 50, 55, ... 100, not {percent}")
    make = nearly_pure_text if percent >= 95 else boundary_text
    for _ in range(50):
        text = make(major, minor, percent, rng)
        if SHORTEST <= len(text.split()) <= LONGEST and "_" not in text:
            return text
    raise RuntimeError(f"no text of {SHORTEST}-{LONGEST} words for {major} and {minor}")


def check() -> None:
    pairs = [(major, minor) for major in CLASSES for minor in CLASSES if major != minor]
    assert set(TEMPLATES) == set(pairs), set(pairs) ^ set(TEMPLATES)
    for pair, by_strength in TEMPLATES.items():
        strong, middle, even = (len(by_strength[name]) for name in ("strong", "middle", "even"))
        assert strong >= 6 and middle >= 5 and even >= 5, (pair, strong, middle, even)


def main() -> None:
    parser = argparse.ArgumentParser(description="show or count boundary texts")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print N texts of each ordered pair")
    parser.add_argument("--count", action="store_true", help="templates and distinct texts in 100,000 draws")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    check()
    rng = random.Random(arguments.seed)
    for major, minor in TEMPLATES if arguments.show else ():
        print(f"== {major} + {minor}")
        for _ in range(arguments.show):
            percent = rng.choice(range(50, 100, 5))
            print(f"{percent:4d}  {mix(major, minor, percent, rng)}")
    if arguments.count:
        print("templates", sum(len(lines) for by in TEMPLATES.values() for lines in by.values()))
        pairs = list(TEMPLATES)
        drawn = Counter(mix(*rng.choice(pairs), rng.choice(range(50, 95, 5)), rng) for _ in range(100_000))
        print("distinct of 100,000 draws", len(drawn), "most frequent", drawn.most_common(3))


if __name__ == "__main__":
    main()
