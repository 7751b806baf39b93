"""What IT help-desk tickets look like: a content grammar for the pocket language model.

Six classes, one-sentence to three-sentence tickets, many registers (curt, polite, annoyed, chatty,
non-native).  A template is plain text with two marks:

    {slot}      one filler of SLOTS["slot"] (fillers may hold slots and choices themselves)
    [a|b|]      one of the alternatives (an empty one means: nothing)

Needs: Python 3.11, standard library only.

Example:
    python3 scripts/pocket/tickets.py                # ten tickets of each class, counts, speed
    >>> ticket("vpn_access", random.Random(1))
"""
from __future__ import annotations

import random
import re
import sys
import time

CLASSES: dict[str, str] = {
    "password_reset": "forgotten, expired or new password",
    "account_locked": "account is locked, blocked or disabled",
    "vpn_access": "remote access to the company network by VPN",
    "wifi_problem": "wireless network is missing, slow or drops",
    "software_install": "install, update or license a program",
    "hardware_fault": "a device or part is broken",
}


def _lines(block: str) -> list[str]:
    return [line.strip() for line in block.strip().splitlines() if line.strip()]


def _bars(block: str) -> list[str]:
    """Fillers parted by '/' (the bar is taken by choices inside templates)."""
    return [" ".join(filler.split()) for filler in block.split("/") if filler.strip()]


# ---------------------------------------------------------------------------------------------
# Slots.  The comment names the grammatical shape that every filler of the slot has.
# ---------------------------------------------------------------------------------------------

SLOTS: dict[str, list[str]] = {
    # a given name
    "first_name": _bars("""
        Anna / Peter / Maria / Tom / Julia / Ahmed / Priya / Chen / Olga / Lukas / Sofia / David / Fatima / Jonas /
        Emma / Carlos / Ingrid / Yusuf / Nadia / Marco / Helen / Kofi / Mei / Pavel / Laura / Brian / Aisha / Stefan /
        Claire / Raj / Monika / Felix / Hannah / Diego / Elena / Omar / Katrin / Simon / Lena / Viktor / Grace /
        Samuel / Ines / Bob / Alice / Martin / Sandra / Tim / Nina / Oscar / Wendy / George / Amina / Hugo / Rosa /
        Patrick / Leila / Sven / Tanja / Igor / Beatrice / Kevin / Yuki / Dieter / Zoe / Andrea / Ravi / Charlotte /
        Mehmet / Isabel / Greta / Liam / Noah / Susan / Deepak / Ewa / Francesca / Gary / Hiroshi / Jasmin / Linda /
        Mikael / Natalie / Paolo / Rebecca / Steve / Thandi / Ulrich / Vera / Walter / Xenia / Mr Hughes / Mrs Novak /
        Ms Park / Dr Weber / Mr Garcia / Mrs Okafor / Ms Lindgren / Mr Singh /
        Abdul / Agnes / Boris / Camille / Dora / Erik / Fiona / Giulia / Harald / Ivan / Joanna / Karim /
        Lorenzo / Magda / Nikos / Pedro / Quentin / Roberto / Svetlana / Teresa / Uma / Valerie / Wei /
        Yvonne / Zofia / Mrs Schmidt / Mr Dubois / Ms Haddad / Dr Chan / Mr Kowalski / Mrs Ferrari /
        Professor Lang"""),
    # a town
    "city": _bars("""
        Berlin / Paris / Madrid / London / Warsaw / Prague / Vienna / Zurich / Milan / Oslo / Dublin / Lisbon / Athens /
        Boston / Chicago / Dallas / Toronto / Singapore / Mumbai / Dubai / Cairo / Nairobi / Sydney / Tokyo / Seoul /
        Munich / Hamburg / Stuttgart / Leeds / Glasgow / Lyon / Brussels / Rotterdam / Copenhagen / Helsinki /
        Stockholm / Budapest / Bucharest / Seattle / Denver / Austin / Atlanta / Montreal / Sao Paulo / Bogota /
        Johannesburg / Istanbul / Bangalore / Manila / Shanghai / Geneva / Basel / Porto / Krakow / Turin /
        Marseille / Valencia / Naples / Antwerp / Cologne / Frankfurt / Dresden / Salzburg / Gdansk / Riga /
        Tallinn / Vilnius / Sofia / Belgrade / Zagreb / Ljubljana / Houston / Phoenix / Miami / Vancouver /
        Lima / Santiago / Lagos / Accra / Casablanca / Riyadh / Karachi / Delhi / Jakarta / Bangkok / Hanoi
        / Osaka / Melbourne / Auckland / Reykjavik / Bergen / Malmo / Cork / Bristol / Cardiff"""),
    # a bare singular noun for someone's work
    "job": _bars("""
        accountant / receptionist / engineer / developer / designer / nurse / teacher / trainee / driver / planner /
        buyer / analyst / secretary / technician / consultant / lawyer / recruiter / project manager / sales rep /
        shift leader / foreman / auditor / bookkeeper / translator / editor / warehouse clerk / controller /
        team lead / office manager / apprentice / librarian / researcher / lab assistant / dispatcher / cashier /
        machine operator / quality inspector / payroll clerk / marketing assistant / copywriter / architect /
        temp / contractor / freelancer / volunteer / student helper / caretaker / product owner / scientist /
        account executive / store manager / doctor / physiotherapist / welder / chemist / statistician /
        event planner / tax adviser / supervisor / director / vice president / personal assistant / tutor /
        butcher / baker / carpenter / electrician / plumber / gardener / chef / waiter / pilot / paramedic /
        midwife / dentist / pharmacist / optician / surveyor / geologist / biologist / actuary / broker /
        underwriter / notary / paralegal / judge / mediator / social worker / counsellor / psychologist /
        coach / journalist / photographer / illustrator / animator / curator / musician / purchaser /
        merchandiser / florist / courier / forwarder / customs agent / fitter / mechanic / toolmaker /
        roofer / painter / janitor / security guard / intern / headteacher / professor / dean / tester /
        scrum master / data scientist / sysadmin / community manager"""),
    # a singular noun phrase for a person other than the writer, fit as subject and as object
    "person": _bars("""
        my colleague / our intern / a new team member / the new starter / my boss / my manager / one of our contractors /
        our {job} / the {job} / our new {job} / a {job} in my team / {first_name} / {first_name} /
        {first_name} from {department} / the guy in {department} / the lady from {department} / a visitor /
        our trainee / my team lead / a temp worker / my assistant / my coworker / a teammate / my supervisor /
        the new employee / the new hire / an external consultant / my deputy / my desk neighbour / a working student /
        a guest / our summer student / someone in {department} / a user in {department} / the person I replace"""),
    # the name of a part of the company, with its article where it needs one
    "department": _bars("""
        sales / marketing / the HR team / the finance department / production / logistics / customer service /
        the design team / legal / purchasing / accounting / the lab / research / quality control / the call centre /
        the warehouse team / facilities / the press office / engineering / payroll / the front desk / shipping /
        the support team / human resources / procurement / the night shift / the board office / training /
        maintenance / the export team / controlling / the pharmacy / the school office / the clinic / the studio /
        business development / compliance / the tax group / the web team / internal audit / the data team /
        dispatch / treasury / claims / underwriting / radiology / admissions / the registry / the kitchen
        staff / investor relations / sustainability / corporate communications / the works council /
        internal services / the housing office / the tool shop / assembly / the paint shop / packaging /
        goods receipt / returns / billing / collections / events / fundraising / outpatient care / the
        museum shop / the secretariat / the dean's office / mergers / innovation"""),
    # a point in time (past or near)
    "point": _bars("""
        this morning / yesterday / today / last night / on Monday / on Tuesday / on Wednesday / on Thursday / on Friday /
        after lunch / over the weekend / last week / after my vacation / after my holiday / a few minutes ago /
        an hour ago / just now / earlier today / two days ago / this afternoon / right after the weekend /
        after the long weekend / after parental leave / when I came in / at nine / after the coffee break /
        first thing in the morning / late in the evening / on my first day back / after the meeting / tonight /
        at midnight / at the crack of dawn / on Saturday / on Sunday / at quarter past eight / during lunch
        / yesterday evening / before Christmas / after Easter / in the night / on my birthday / in January /
        in August / shortly after nine / the other day / recently"""),
    # a length of time up to now
    "since": _bars("""
        since yesterday / since Monday / since last week / for two days now / since the weekend / all day / for an hour /
        since the move / since I got back / since this morning / for ages / for weeks / since the start of the month /
        since Thursday / for the third day / since noon / all week / since my first day / since the reorganisation /
        the whole morning / for a while / since last Friday / since the holidays / ever since the storm /
        since I moved desks / for about half an hour / since about ten o'clock / for the last few days"""),
    # how often
    "often": _bars("""
        again / again and again / every morning / from time to time / all the time / every few minutes / constantly /
        once in a while / several times a day / every single day / twice an hour / every other day / now and then /
        at random / over and over / continually / once more / sometimes / often / regularly / every Monday"""),
    # any time adverbial, for the end of a sentence
    "when": ["{point}", "{point}", "{since}", "again", "right now", "at the moment", "today", "this week"],
    # until when the writer needs help
    "deadline": _bars("""
        before noon / by tomorrow / by Friday / before my meeting / as soon as possible / today if possible / this week /
        before the audit / by Monday morning / before the end of the month / before the customer visit / asap /
        by the end of the day / within the hour / before I leave / before my flight / by next week / before my shift /
        before the presentation / before the workshop / in time for the webinar / before the trade fair / by lunchtime /
        before closing time / before month end / before the course starts / before the board meeting / urgently /
        before the deadline / at your earliest convenience / soon / before the holidays / until Thursday / by four /
        before Easter / before Christmas / before sunrise / until Wednesday / before the ferry leaves /
        before the launch / promptly / without delay / quickly / immediately / at once / right away / before
        the press conference / before my train / before rush hour / ahead of the inspection"""),
    # something one signs in to, with its article where it needs one
    "system": _bars("""
        Windows / my email / Outlook / SAP / the HR portal / the CRM / the time sheet system / Salesforce / the intranet /
        the ordering system / the travel portal / Jira / the finance app / my computer / my PC / my laptop /
        the learning platform / the web shop / the payroll system / the wiki / the customer database / OneDrive /
        the company portal / the benefits site / SharePoint / my mailbox / Workday / the expense tool / ServiceNow /
        the supplier portal / the booking system / the library catalogue / the patient file / the ERP /
        the ticket system / Confluence / Google Workspace / the till / the stock system / the project site /
        the staff app / webmail / my work phone / the e-learning site / the shift planner / the invoice portal /
        the document archive / the customs portal / the bank portal / my workstation / Office 365 / the grading system /
        the clocking terminal / the fleet portal / the survey tool / the time clock / Teams / the extranet /
        the tax portal / the newsletter tool / the voting site / the helpdesk portal / the warehouse
        terminal / the lab system / the student portal / the payslip page / the leave request tool / the
        contract database / the recruiting site / the mobile banking app / the insurance portal / the car
        pool page / the canteen app / the parking app / GitLab / GitHub / Slack / Zoom / Trello / Dropbox /
        Azure / the citrix desktop / the terminal server / Moodle / LinkedIn Learning / DocuSign / Concur /
        Zendesk / HubSpot / NetSuite / the dashboard / the reporting site / the medical file / the
        quality handbook / the safety training / the phone system / my voicemail / the alarm panel"""),
    # a bare noun for the secret
    "password": _bars("""
        password / password / password / password / password / password / pw / pwd / passcode / passphrase /
        login password / PIN / pass word / passwort / Windows password / network password / email password /
        sign-in password / domain password / user password"""),
    # a bare noun for the account
    "account": _bars("""
        account / account / account / account / user account / user / login / profile / user ID / Windows account /
        domain account / user name / user profile / network account / work account / company account / email account /
        AD account / access / staff account / logon"""),
    # fits "my account is ..."
    "locked": _bars("""
        locked / locked / locked / blocked / blocked / disabled / suspended / deactivated / locked out / frozen /
        switched off / inactive / barred / closed / shut off / restricted / on hold / denied / banned / revoked /
        terminated / marked as inactive / flagged as blocked / in lockout / temporarily locked / turned off /
        cut off / out of action / under lock / in quarantine / decommissioned / stopped / dormant / expired
        and closed / sealed / put on hold / pending suspension / shut / shut down / paused / greyed out /
        not enabled / not active / no longer active / archived / rejected"""),
    # fits "please ... my account"
    "unlock": _bars("""
        unlock / unlock / unlock / unblock / reactivate / enable / release / reopen / re-enable / free / activate /
        restore / unfreeze / unsuspend / turn back on / open up / switch on / reinstate / revive / lift the block on /
        remove the lock on / clear the lockout on / take the block off /
        clear / unbar / thaw / bring back / let me back into / lift the suspension of / end the lockout of /
        undo the block on / reset the lock on / make active / remove the ban on"""),
    # the remote access, with its article where it needs one
    "vpn": _bars("""
        VPN / the VPN / the VPN / the vpn / the VPN client / the company VPN / GlobalProtect / AnyConnect / OpenVPN /
        FortiClient / remote access / the VPN connection / the VPN tunnel / the secure tunnel / Pulse Secure /
        the VPN gateway / the corporate VPN / our VPN / Cisco VPN / the remote access client / WireGuard / Zscaler /
        the VPN app / the dial-in / NetScaler / the VPN login"""),
    # adverbial: away from the company
    "remotely": _bars("""
        from home / from home / from my home office / from a hotel / while travelling / from abroad / on the train /
        from outside the office / from the customer site / from the airport / from my house / when I work remotely /
        while teleworking / from my kitchen table / from another country / on a business trip / from {city} /
        from my flat in {city} / from a coworking space / on the road / off site / from a cafe / outside the building /
        during home office / from my parents' place / from the construction site / from a holiday flat /
        from a trade fair in {city} / while on a train to {city} / from my garden / from a branch abroad /
        from the mountains / from my cottage / from the campsite / from a ferry / from the beach / from a
        conference in {city} / from my sister's house / from the library in town / from a youth hostel /
        from a motel / from the hospital / from a site in {city} / while in quarantine / when I am out /
        outside office hours at home / from the suburbs / from my caravan / from the lounge at the airport /
        from the farm / while commuting / remotely / remotely / over my home line / as a remote worker"""),
    # something inside the company network
    "internal": _bars("""
        the company network / the internal network / the file server / the shared drive / the intranet /
        the internal pages / the office servers / our network drives / the head office network / the internal tools /
        the network shares / the company systems / the corporate network / my office desktop / the team folder /
        the internal wiki / the database server / the P drive / the M drive / the departmental share / the LAN /
        the internal Git server / the test servers / the headquarters / my work PC in the office / the data centre /
        our internal websites / the ERP server / the common drive / the group drive / the SAP server /
        the archive server / the print server / the licence server / the intranet calendar / my H drive /
        the project folder / the CAD server / the backend / the staging server / the machine controls / the
        reporting database / the file share / my home directory / the NAS in the office / the SharePoint on
        premises / the accounting server / the internal dashboard / the phone directory / the bastion / the
        mainframe / the network folders / the terminal server / our internal portal"""),
    # a bare noun for the wireless network
    "wifi": _bars("""
        wifi / wifi / wifi / wi-fi / Wi-Fi / WiFi / WLAN / wireless / wireless network / office wifi / wireless internet /
        wireless connection / wifi network / company wifi / wlan / wifi connection / staff wifi / wireless LAN"""),
    # a place inside the building, with its article where it needs one; fits "in ..."
    "room": _bars("""
        meeting room 2 / the conference room / the canteen / the lobby / my office / building B / the warehouse /
        the kitchen / the corridor / the training room / the basement / the open space / the reception area /
        the east wing / the break room / the lab / the hall / room 214 / room 3.07 / the cafeteria / the workshop /
        the auditorium / the library / the archive / the stairwell / the annex / the old building / the west wing /
        the boardroom / the copy room / the showroom / the courtyard / the loading bay / the classroom / the garage /
        the waiting room / the nurses' station / the storage room / the meeting pod / the phone booth / the atrium /
        the north corner / the production hall / the attic / the back office / the gym / the lounge / my cubicle /
        the server room hallway / the guest house / the lecture hall / the shipping area / hall 4 / the new building /
        the chapel / the ballroom / the mezzanine / the bunker / the foyer / the penthouse floor / the clean
        room / the operating theatre / the changing room / the mail room / the print shop / the cold store /
        the greenhouse / the barn / the parking deck / the rooftop terrace / the patio / the smoking area /
        the prayer room / the nursery / the gatehouse / the porter's lodge / the exhibition area / the music
        room / the craft room / the staff room / the ward / the dormitory / the pavilion / the quiet zone /
        the hallway / the sick bay / the control room / the assembly line / the paint shop / the container
        office"""),
    # a bare noun for a thing one carries or works at
    "device": _bars("""
        laptop / phone / tablet / notebook / iPhone / iPad / computer / Surface / MacBook / mobile / smartphone /
        ThinkPad / work laptop / company phone / PC / Chromebook / desktop / Android phone / workstation / Dell laptop /
        HP laptop / work phone / handheld / machine / Lenovo / Galaxy phone"""),
    # the name of a program, no article
    "app": _bars("""
        Photoshop / AutoCAD / Microsoft Office / Excel / Visual Studio / Chrome / Firefox / Slack / Zoom / Teams /
        Adobe Reader / Python / Java / Git / MATLAB / Power BI / Notepad++ / Tableau / InDesign / Visio /
        Microsoft Project / 7-Zip / Node / Docker / Word / PowerPoint / Acrobat / Skype / SPSS / RStudio / Illustrator /
        SolidWorks / Blender / GIMP / LibreOffice / OneNote / Eclipse / PyCharm / IntelliJ / VS Code / Postman / DBeaver /
        WinSCP / PuTTY / FileZilla / VLC / Audacity / OBS / Camtasia / Snagit / Figma / Sketch / Miro / Trello / Asana /
        Notion / Evernote / Webex / KeePass / TeamViewer / Citrix Workspace / QuickBooks / DATEV / Lexware / Sage /
        SketchUp / Revit / ArcGIS / QGIS / Stata / Mathematica / LabVIEW / ANSYS / CATIA / Inventor / Lightroom /
        Premiere / After Effects / DaVinci / Inkscape / CorelDRAW / Thunderbird / Edge / Opera / Microsoft Access / Publisher /
        WinRAR / PDFsam / Foxit / Nitro / Grammarly / DeepL / Trados / Zotero / EndNote / Citavi / MindManager / XMind /
        Anaconda / Jupyter / Maven / Gradle / Unity / Xcode / Android Studio / Oracle client / SQL Server / MySQL /
        SAP GUI / Minitab / LaTeX / Greenshot / Paint.NET / Acronis / Bloomberg / Sibelius / WhatsApp Desktop /
        KiCad / Altium / Fusion 360 / Rhino / ArchiCAD / MadCap Flare / FrameMaker / Scrivener / Calibre /
        HandBrake / Cubase / Ableton / Sublime / Vim / Emacs / Cygwin / Wireshark / Nmap / Fiddler / Jenkins
        / Terraform / Kubernetes / Ansible / Vagrant / VirtualBox / VMware Player / Hyper-V / Parallels /
        PowerShell / Perl / Ruby / PHP / Rust / Golang / Octave / Maple / Origin / GraphPad / ImageJ /
        ChemDraw / Gaussian / Avogadro / Tally / Xero / Elster / Navision / Dynamics / Looker / Qlik /
        Alteryx / KNIME / SAS / EViews / Balsamiq / Lucidchart / Canva / Affinity / Krita / Freehand /
        Mindjet / MeisterTask / Basecamp / Monday / ClickUp / Todoist / Signal / Telegram / Discord / Loom /
        Kahoot / Mentimeter / iTunes / Spotify / Bitwarden / Sumatra / IrfanView / Everything / TreeSize /
        CCleaner / Total Commander / Beyond Compare / Swyx / RingCentral / GoToMeeting / AnyDesk / VNC
        Viewer / XnView / Silverlight / Flash"""),
    # a bare noun for a kind of program
    "program": _bars("""
        software / software / tool / program / application / app / package / programme / client / suite /
        program package / desktop app / software package"""),
    # a bare countable noun for a kind of program, fits "a ..."
    "tool_kind": _bars("""
        PDF editor / screen recorder / text editor / photo editor / video editor / label printing tool / CAD viewer /
        database client / translation tool / mind map tool / file archiver / project planner / media player /
        drawing program / statistics package / code editor / compiler / diagram tool / note taking app / chat app /
        spreadsheet program / barcode tool / font manager / CRM client / invoicing program / bookkeeping program /
        screenshot tool / audio editor / backup program / password manager program / dictation program /
        browser extension / ad blocker / spell checker / virtual machine program / FTP client / map viewer /
        simulation program / time tracking app / e-signature tool / flowchart tool / whiteboard app / accounting package /
        OCR tool / 3D viewer / webinar tool / reference manager / remote support tool / survey program /
        password generator / colour picker / clipboard manager / disk cleaner / calculator / calendar app /
        e-book reader / typing tutor / music notation program / genealogy program / subtitle editor / slide
        maker / poster designer / form builder / quiz maker / log viewer / debugger / hex editor / terminal
        emulator / network scanner / packet sniffer / ticketing client / phone client / fax program / route
        planner / warehouse program / recipe program / shift planning tool / laboratory program / molecule
        viewer / risk analysis tool"""),
    # a bare noun for something small one installs
    "addon": _bars("""
        plugin / plug-in / add-in / add-on / extension / driver / printer driver / scanner driver / font / macro pack /
        language pack / codec / toolbar / runtime / library / patch / hotfix / service pack / template pack /
        graphics driver / update / module / spell check dictionary / connector / viewer / certificate tool /
        quick start tool / ribbon / skin / SDK / API client / framework / redistributable / firmware / PDF
        printer / spam filter add-in / bar code font / thesaurus / solver / toolbox / shader pack / image
        filter / screen reader"""),
    # a bare verb: bring a program onto a computer
    "install": _bars("""
        install / install / install / set up / deploy / load / roll out / add / download / get / put on"""),
    # a number of some program version
    "version": _bars("""
        2021 / 2023 / 2024 / 365 / 11 / 3.12 / 10.2 / 7 / 2.0 / 64-bit / Pro / Enterprise / 2019 / 22H2 / 5.4"""),
    # a bare singular noun for a device or part that can break
    "part": _bars("""
        keyboard / mouse / monitor / screen / display / docking station / headset / webcam / battery / charger /
        power supply / printer / scanner / hard disk / fan / touchpad / speaker / microphone / USB port / projector /
        laptop / computer / PC / power cable / second monitor / space bar / camera / phone / desk phone / adapter /
        hinge / power button / label printer / notebook / hard drive / trackpad / beamer / copier / tablet / HDMI port /
        headphone jack / power brick / graphics card / motherboard / memory module / SSD / DVD drive / card reader /
        fingerprint reader / barcode scanner / receipt printer / conference phone / dock / USB hub / external drive /
        stylus / screen hinge / plotter / laser printer / inkjet printer / workstation / smartphone / keypad /
        network socket / power socket / extension lead / mouse wheel / left mouse button / backlight / TV screen /
        video cable / charging port / laptop lid / thin client / UPS / handset / earpiece / number pad / enter key /
        shift key / cash drawer / shredder / badge reader / interactive whiteboard / numeric keypad / display cable /
        joystick / trackball / webcam cover / laptop stand / footswitch / foot pedal / hand scanner / RFID
        reader / NAS / tape drive / network cable / patch cable / router case / cooling fan / heat sink /
        BIOS battery / CPU / RAM stick / mainboard / power strip / wall plug / laptop bag clip / lightning
        cable / USB-C cable / earbud / headband / volume knob / scroll wheel / volume button / home button /
        camera lens / flash light / vibration motor / loudspeaker / intercom / doorbell camera / turnstile
        reader / time clock / weighing scale / franking machine / laminator / fax machine / document feeder
        / paper tray / toner cartridge / print head / fuser unit / microscope camera / measuring probe /
        dongle / KVM switch / digitizer / pen tablet / e-reader / smartwatch / walkie talkie / desk lamp
        plug / air cooler / touch panel / kiosk screen / PIN pad / card terminal / money counter"""),
    # a bare singular noun for a thing with a screen
    "screen": _bars("""
        monitor / screen / display / second screen / laptop screen / external monitor / left monitor / right monitor /
        widescreen / tablet screen / phone screen / TV in the meeting room / panel / touchscreen / Dell monitor"""),
    # a bare singular noun for a thing that prints
    "printer": _bars("""
        printer / printer / laser printer / label printer / copier / inkjet / multifunction printer / big copier /
        receipt printer / plotter / printer on our floor / colour printer / photo printer / badge printer"""),
    # fits "the keyboard is ..."
    "broken": _bars("""
        broken / broken / dead / defective / damaged / faulty / cracked / worn out / bust / kaputt / gone / smashed /
        fried / shot / busted / knackered / done for / out of order / wrecked / completely dead / beyond repair /
        falling apart / toast / bent / snapped / burnt out / half dead / malfunctioning / on its last legs / ruined /
        failing / crushed / split / rusty / burnt / scorched / soaked / torn / wobbly / chipped / shattered
        / stuck / jammed / useless / unusable / a write-off / dead as a doornail / in pieces / scrap / loose
        / wonky / dodgy / crooked / overheating / not responding / not working / fizzled out / melted"""),
    # a number before "times", "attempts"
    "attempts": _bars("""three / five / several / too many / four / six / a few / ten / multiple / eight / so many / a dozen / 3 / 5"""),
    # fits "my ... keyboard"
    "broken_adj": _bars("""
        broken / broken / broken / dead / defective / damaged / faulty / cracked / worn out / busted / smashed / wrecked /
        useless / wonky / malfunctioning / bent / ruined / rattling / dodgy / battered / scratched / tired old"""),
    # something after "error" or "error code"
    "error_code": _bars("""
        0x80070005 / 720 / 691 / 1603 / 1722 / 53 / 619 / E14 / 404 / 0x8024 / 1935 / 800 / 12 / 809 / 1618 / 429 / 112 /
        0xc000007b / 2203 / 868 / 51 / 33 / 1152 / 0x1f / 4005 / 9001 / 17 / 442"""),
    # why the money or leave is there
    "approval": _bars("""
        my manager approved it / my boss said it is fine / the budget is approved / we need it for a customer /
        it is needed for a project / the order is already signed / {person} already has it / {department} uses it too /
        the cost centre is 4711 / my team lead agreed / the licence is paid"""),
    # fits "I ... my password"
    "forgot": _bars("""
        forgot / forgot / forgot / have forgotten / can't remember / don't remember / no longer know / cannot recall /
        don't know / do not know / have lost / can't think of / misplaced / can not remember / have totally forgotten /
        completely forgot / lost / forget / didn't remember / don't recall /
        blanked on / keep forgetting / forgot yet again / cannot find / can't find / can't come up with /
        seem to have forgotten / must have forgotten / am unable to recall / have no memory of / have no
        clue about / have no idea about / am not sure about / mixed up / messed up / muddled up / don't have
        / misremember / already forgot"""),
    # past tense or present, fits "the wifi ..."
    "wifi_fails": _bars("""
        drops / keeps dropping / cuts out / is gone / is down / is slow / is very slow / disconnects / is unstable /
        does not work / is dead / is weak / is patchy / vanished / disappears / comes and goes / is terrible /
        does not show up / fails / crawls / is flaky / is unusable / goes off / lags / is super slow / won't connect /
        is out / stutters / is spotty / is bad / refuses to connect / is not available / hangs / keeps disconnecting /
        is snail slow / trickles / is wobbly / is choppy / is awfully laggy / is interrupted / is
        intermittent / is as slow as dial-up / is hopeless / has dropped out / flickers on and off / has no
        internet / has no signal / is not found / is missing / is invisible / collapses / breaks down /
        breaks off / conks out / is overloaded / is congested / is feeble / keeps buffering / keeps stalling
        / loses packets / is gone again / is jerky / is shaky / is turtle speed / takes ages / fades in and
        out / is a disaster / kicks everyone off / never connects / stopped working / is painfully slow"""),
    # fits "the VPN ..."
    "vpn_fails": _bars("""
        does not connect / won't connect / keeps disconnecting / drops / fails / times out / refuses to connect /
        is not working / hangs / is stuck on connecting / cannot reach the gateway / breaks off / does not start /
        gives error {error_code} / is down / throws me out / never gets past 98 percent / closes by itself /
        rejects my token / says the host is unreachable / disconnects / is dead / is very slow / kicks me off /
        stalls / loops / collapses / bails out / flaps / crawls / drops out / bounces me / breaks down /
        keeps reconnecting / keeps failing / aborts / denies me / ignores me / errors out / freezes / stops
        halfway / does not handshake / cannot be established / is not reachable / is unreachable / does not
        let me in / never answers / crashes / says access denied / shows a timeout / reports an expired
        certificate / does nothing / acts up / is flaky / is unstable / says no network / won't establish /
        won't authenticate"""),
    # a kind of business event, bare noun
    "event": _bars("""
        meeting / presentation / workshop / audit / call / training / demo / interview / review / conference /
        customer visit / webinar / lesson / exam / inventory / town hall / kick-off / seminar / hearing / inspection /
        hackathon / retreat / rehearsal / ceremony / lecture / symposium / assessment / stand-up /
        retrospective / photo shoot / open day / job fair / auction / product launch / press conference /
        fire drill / negotiation / consultation / ward round / deposition / panel / orientation / induction
        / board session / roadshow / fundraiser / parent evening / demo day"""),
    # some goods or work, for neutral context
    "work": _bars("""
        the quarterly report / the invoices / the budget / a tender / the annual accounts / my thesis / the newsletter /
        the shift plan / an offer for a client / the catalogue / the floor plan / the contract / the payslips /
        the delivery notes / customer orders / the test results / the minutes / the statistics / a brochure / my lecture /
        the tax return / the release / the survey / the expense claims / the holiday plan / the price list /
        a big order / the balance sheet / the monthly closing / the inventory list / the magazine / the safety report /
        the petition / a grant application / the timetable / the logbook / the blueprint / the label design
        / the recipe cards / the patent filing / a translation / the video clips / the wage slips / the
        seating plan / the discharge letters / the lab protocol / the risk analysis / the exam sheets / the
        audit trail / the packing slips / the flyers / the menu / the storyboards / the poster / the roadmap
        / the bill of materials / the sales forecast / the press release / the certificates / the itinerary
        / the handbook / a quotation / the purchase orders / the mailing list / the tender documents / the
        maintenance plan"""),
}

# the same, singular only, fit as the subject of "is", "does"
SLOTS["internal_one"] = [place for place in SLOTS["internal"] if not place.endswith("s")]

# ---------------------------------------------------------------------------------------------
# Neutral context, the same for every class
# ---------------------------------------------------------------------------------------------

GREETINGS: list[str] = _bars("""
    hi / hello / hey / good morning / dear IT / dear help desk / hi all / hello team / hi there / good afternoon /
    dear support team / hey guys / hello IT support / hi {first_name} / morning / dear sir or madam / to whom it may concern /
    hey IT / hello again / sorry to bother you / quick question / urgent / help / hi folks / dear colleagues / FYI /
    good day / dear {first_name} / greetings / me again / hi service desk / excuse me / hello everybody / ok so""")

CONTEXTS: list[str] = _lines("""
    I have a {event} [in an hour|at three|tomorrow|with a client|soon]
    I [need|must have] this {deadline}
    it is [very|really|quite|rather] urgent
    I am working on {work}
    I have to finish {work} {deadline}
    I can't finish {work}
    I am in {city} [today|this week|until Friday]
    I am flying to {city} tomorrow
    we have visitors from {city}
    I work in {department}
    I am [a|the] {job} in {department}
    I am new here
    I started {point}
    this is my first week
    I already restarted [everything|twice|the computer|three times]
    a reboot did not help
    turning it off and on again changed nothing
    restarting didn't fix it
    my colleagues have the same problem
    {person} has the same problem
    {person} told me to write to you
    nobody else [here|in the team] has this issue
    it worked fine [yesterday|last week|until now|on Friday]
    everything was fine [yesterday|before lunch|last month]
    this happened {point}
    it started {point}
    it has been like this {since}
    this is the [second|third|fourth] time this [week|month]
    it is really annoying
    this is so frustrating
    I am losing [patience|my mind|a lot of time]
    I can't work like this
    I am stuck
    I cannot do anything now
    the customer is waiting
    my boss is [waiting|getting nervous|angry]
    I can be reached at extension [4412|207|3381|90]
    you can call me on my mobile
    please call me [back|at my desk|after two]
    my desk is in {room}
    I sit in {room}
    I am in {room} [right now|until five|all day]
    ask for {first_name} at the front desk
    {first_name} is calling from {city}
    I am writing for {person}
    I am asking on behalf of {person}
    I tried [everything|for an hour|it several times|what the manual says]
    I followed the [guide|manual|instructions|FAQ]
    I have no idea what to do
    I am not very technical
    I don't understand [computers|this stuff|what went wrong]
    sorry for my English
    sorry if this is the wrong [place|queue|address]
    I hope you can help
    any help is appreciated
    what should I do
    can someone [help|look into this|take a look|call me]
    please help
    please advise
    please [hurry|be quick]
    could you come by [today|at two|before lunch]
    I opened a ticket [last week|yesterday] but nobody answered
    my last ticket number was [48213|10077|55920]
    I was [on vacation|ill|on sick leave|on parental leave|away] [last week|for a month|until yesterday]
    I just came back from [vacation|holiday|a trip|maternity leave|{city}]
    it is the end of the quarter
    payroll closes [today|tomorrow]
    I am on a deadline
    I share a desk with {person}
    {person} is on leave this week
    we are a team of [five|twelve|twenty] people
    the whole [team|department|floor|office] is waiting
    no rush
    it is not urgent
    whenever you have time
    otherwise all is fine
    everything else works
    thanks [a lot|in advance|for your help|very much|so much|for the quick help last time]
    thank you
    many thanks
    cheers
    best regards {first_name}
    regards, {first_name}
    kind regards from {city}
    {first_name} from {department}
    have a nice day
    you guys are great
    let me know
    I will be [out|in meetings|at lunch] until [two|three|four]
    I leave at [four|five|noon]
    the {event} starts [soon|at ten|in twenty minutes]
    I need to send {work} [today|tonight|to the customer]
    {department} needs {work} {deadline}
    I am the only {job} [here|on duty|today]
    our {job} is [desperate|waiting|complaining|not amused]
    it is Monday, of course
    what a start to the week
    I feel stupid
    I swear I did nothing
    not sure what I did
    maybe I did something wrong
    I did not change anything
    no error before that
    I waited [an hour|all morning|ten minutes]
    it is always the same
    why does this always happen to me
    is this a known problem
    do you know more
    is it just me
    I can send a [photo|screenshot|picture]
    screenshot attached
    see picture
    my employee number is [20417|7731|0932]
    cost centre [3310|4711|9020]
    we are short of staff
    the students are waiting
    the patient is waiting
    the truck is waiting at the gate
    I promised {work} to {person}
""")

LEAD_INS: list[str] = _lines("""
    since {point}
    {point}
    as of today
    for some reason
    somehow
    all of a sudden
    suddenly
    unfortunately
    sadly
    ok so
    I think
    I believe
    it seems
    it looks like
    apparently
    as I said {point}
    just to let you know,
    I noticed that
    as you know,
    I am afraid
    I'm sorry but
    once again
    after the {event}
    during the {event}
    before the {event}
    back from [vacation|a trip|leave] and
    I want to report that
    I would like to report:
    the issue is:
    problem:
    my problem is that
    weird thing:
    according to {person},
    {person} says
    I am a {job} and
    here in {city}
    over in {department}
""")

ENDINGS: list[str] = _lines("""
    , please help
    , thanks
    , thank you
    , please
    , pls
    , urgent
    , asap
    , any idea?
    , what now?
    , what can I do?
    , can you help?
    , no idea why
    , and I need it {deadline}
    , so I can't work on {work}
    , which is a problem because of the {event}
    and I have a {event} [soon|at two|tomorrow]
    and I must hand in {work} {deadline}
    and I don't know why
    and I am stuck
    and the customer is waiting
    although I restarted
    , help!
    , again
    , ugh
    , it drives me crazy
    , same for {person}
    , as always
    :(
    , sorry
    , cheers
    , {first_name}
    - {first_name}
    , can someone look at it {deadline}?
    , please fix it {deadline}
    in the middle of the {event}
""")

# ---------------------------------------------------------------------------------------------
# Templates: what happened (STATEMENTS) and what the writer wants or asks (REQUESTS)
# ---------------------------------------------------------------------------------------------

STATEMENTS: dict[str, list[str]] = {}
REQUESTS: dict[str, list[str]] = {}

STATEMENTS["password_reset"] = _lines("""
    I {forgot} my {password}
    I {forgot} my {password} for {system}
    I {forgot} the {password} to {system}
    I {forgot} my {password} {point}
    {password} forgotten [again|once more|, sorry|for {system}]
    forgot {password} [again|for {system}|, need a reset]
    pw forgotten again
    lost {password} for {system}
    I lost the [note|slip|paper|sticky note|letter] with my {password}
    the sticky note with my {password} is [gone|lost|in the bin]
    I wrote my {password} down somewhere and can't find it
    the cleaner threw away the post-it with my {password}
    my {password} for {system} has [expired|run out|lapsed]
    my {password} expired {point}
    my {password} [runs out|expires|is about to expire] [today|tomorrow|in two days|this week]
    I get a [warning|reminder|message|popup] that my {password} will expire [soon|in three days|tomorrow]
    the {password} expires today and I can't change it
    my {password} ran out while I was [on vacation|ill|on leave|abroad]
    my {password} is older than ninety days
    {system} says my {password} is too old
    the {password} reset page [shows an error|does not load|is blank|is not found]
    the link to reset my {password} [does not work|is broken|is no longer valid|has expired|leads nowhere]
    the reset [mail|email|message|link] never [arrived|came|reached me]
    I did not get the [email|SMS|text message|code] to reset my {password}
    the self service {password} reset [fails|does not know me|gives error {error_code}]
    I clicked on forgot {password} but no mail came
    the forgot {password} link on {system} does nothing
    {system} does not accept the new {password} I chose
    the new {password} is rejected because it is too [short|simple|similar|long]
    it says my new {password} does not meet the [rules|policy|requirements|complexity rules]
    it says the {password} was already used before
    every {password} I choose is [refused|not strong enough|rejected]
    it wants a special character and an upper case letter in my new {password}
    I changed my {password} {point} and [forgot it|can't remember it|already forgot it|don't know it any more]
    I set a new {password} {point} and now I don't remember it
    I changed my {password} before [my holiday|vacation|the weekend] and it is gone from my head
    {system} asks me to change the {password} but nothing happens
    {system} forces me to choose a new {password}
    I am prompted for a new {password} at every start
    someone else knows my {password}
    I think {person} has seen my {password}
    {person} watched me type my {password} and I want to change it
    my {password} was leaked and has to be changed
    I entered my {password} on a phishing page, so I must change it
    my {password} may be [stolen|compromised|hacked|known to others]
    I told {person} my {password} by mistake and want a different one
    {person} [forgot|has forgotten|can't remember|no longer knows|lost] the {password} for {system}
    {person} forgot the {password} {point}
    {person} does not remember [the|any] {password}
    {person} needs a new {password}
    {person} needs a new {password} for {system}
    {person} has no {password} yet
    the answer to my security question is [wrong|not accepted|forgotten]
    I forgot the answer to my [security|recovery|secret] question
    the recovery question asks for my first pet and I don't know what I typed
    the recovery email for my {password} goes to an old address
    the {password} recovery code goes to my old phone number
    the code for {password} recovery never comes
    the [temporary|initial|first|provisional|one-time] {password} you sent does not work
    the [temporary|one-time|default|starter] {password} has already expired
    the initial {password} in the [letter|welcome mail|envelope] is wrong
    I never received [a first|an initial|my temporary|any] {password}
    my [initial|first|temporary] credentials [are not working|never arrived|got lost|are wrong]
    I don't have a {password} for {system} yet
    nobody gave me a {password} [for {system}|on my first day|when I started]
    I mixed up my old and new {password}
    I only remember my old {password}
    the old {password} still works but the new one does not
    after the {password} change my [phone|mail|tablet] still wants the old one
    the new {password} works [on the laptop|in the office] but not in {system}
    {system} keeps saying wrong {password} although I changed it
    {system} says incorrect {password}
    {system} does not take my {password}
    my {password} is not accepted any more
    my {password} does not work any longer
    my {password} stopped working {point}
    my {password} no longer works for {system}
    I [want|would like|wish] a [safer|stronger|longer|shorter|simpler|different] {password}
    my {password} is too [simple|weak|short|easy to guess] and I want to change it
    my {password} is [123456|the name of my dog|my birthday], time for another one
    I want to pick my own {password} instead of the generated one
    I can't log in because I {forgot} my {password}
    I cannot sign in to {system}, my {password} is [wrong|unknown|expired|gone]
    I can't get into {system} without a new {password}
    I don't know what I set as {password}
    I have too many {password}s and mixed them up
    my brain deleted my {password}
    my {password} slipped my mind
    my {password} has escaped me
    my mind is blank, what was my {password}
    vacation was too good, {password} forgotten
    after [three weeks|a month|six weeks] of holiday I {forgot} my {password}
    I came back from [parental leave|maternity leave|a long trip] and {forgot} the {password}
    the browser used to remember my {password} and now I don't know it
    the {password} was saved in my old phone
    my saved {password} in the browser is wrong
    I deleted my saved {password}s and know none of them
    my {password} safe is closed and I forgot the master {password}
    I forgot the master key of my {password} manager
    I forgot the PIN of my [phone|smart card|badge|laptop|token card]
    I forgot the {password} to open a protected [file|document|spreadsheet|PDF]
    I lost my login details for {system}
    I don't know my login data [for {system}|any more|at all]
    my credentials for {system} are [outdated|expired|forgotten|invalid|unknown]
    my sign-in details for {system} got lost
    I {forgot} my credentials
    my {password} expired while I was using the VPN
    the VPN says my {password} has expired
    my {password} ran out at home and I can't change it without VPN
    the wifi asks for my new {password} and I {forgot} it
    my {password} expired during the software update
    my {password} for the printer portal is forgotten
    keyboard was on the wrong layout when I set the {password}, now nobody knows it
    I made a typo when I set my new {password}
    I typed the new {password} twice but must have mistyped it both times
    the two new {password}s do not match it says
    I cannot find where to change my {password}
    the change {password} button is [grey|missing|greyed out|not there]
    ctrl alt del, change {password}, access denied
    the {password} change failed with error {error_code}
    {password} change not possible
    {password} reset needed [for {system}|{deadline}|]
    {password} expired, cannot log in
    {password} expired [help|again|today]
    new {password} needed for {system}
    need new {password} [{deadline}|for {person}|]
    {password} reset pls
    reset {password} for {system}
    reset of {password} wanted
    have not password anymore
    me forget the {password}
    I am forgetting my {password} always
    I not know my {password} more
    my {password} is run out
    it is not possible for me to remember the {password}
    the {password} what you gave me is wrong
    I did it again: forgotten {password}
    embarrassing, but I {forgot} my {password}
    silly me, I {forgot} my {password} {when}
    I know it's the third time, but I need another {password}
    for the life of me I can't remember my {password}
    I tried every {password} I know and none is the right one
    I tried my birthday, my cat and my street but the {password} is none of them
    the shared {password} of our team mailbox has [changed|expired|been forgotten]
    nobody in {department} knows the {password} for {system}
    {person} left and took the {password} for {system} along
    {person} changed the {password} of {system} and told nobody
    the {password} for the guest screen login is unknown
    the admin {password} for our {printer} got lost
    I got a new {password} by [post|mail|phone] but can't read it
    I can't tell if the new {password} has a zero or the letter O
    umlauts in my new {password} cause trouble
    the reset link says it was already used
    the reset link opens an empty page
    I reset my {password} but {system} still asks for the old one
    the {password} hint does not help me
    my {password} must be renewed
    my {password} should be set back
    my {password} has to be set anew {deadline}
    I was told to change my {password} every three months but I don't know where
    my one-time code for the {password} change is too old
    the confirmation SMS for the new {password} is missing
    I want to replace my {password} after the security training
    {system} tells me that my {password} is no longer valid
    my {password} is invalid since the policy changed
    today was the last day to change my {password} and I missed it
    I ignored the {password} reminder and now it is too late
    my {password} went out of my mind over [Christmas|Easter|summer]
    I am staring at the login and can't remember what I typed as {password}
    total blackout, {password} unknown
    amnesia again: {password}
    my memory is like a sieve and the {password} is gone
    which combination did I use, I really don't know my {password} any longer
    my {password} clue says grandma's cake, no idea what that means
    my notebook with all the {password}s got [stolen|lost|soaked]
    {system} insists that I renew the {password} but rejects each one
    {system} wants at least twelve characters, a digit and a symbol in the {password}
    the {password} must not contain my name, it tells me
    the {password} history does not let me reuse the last one
    the strength meter stays red for every new {password}
    I clicked on the reset link too late
    the reset token is invalid
    the reset mail landed in spam and is now outdated
    the verification code for changing the {password} never shows up
    my recovery address is my old university mail, so no reset possible
    the letter with the start {password} never made it to {city}
    the welcome letter had no {password}
    the envelope with my credentials was empty
    we hired {person} and there is no first {password} yet
    my login credentials have lapsed
    my validity period is over, {password} must be new
    I overlooked the expiry notice of my {password}
    password aging kicked in {point}
    {password} older than permitted
    {password} out of date
    I suspect that my {password} was guessed
    my {password} turned up in a data breach
    I gave away my {password} on a fake website
    my ex knows my {password}
    I shouted my {password} across {room}
    {password} no longer secret
    I switched to a new {password} and now my memory fails me
    auto-fill typed it for me for years, now I need the {password} and don't know it
    my signature {password} for approvals is forgotten
    the voicemail PIN is forgotten
    I don't remember the passphrase of my encrypted [disk|stick|mail key]
    the BitLocker PIN has slipped my mind
    the parental code on the tablet is forgotten
""")

REQUESTS["password_reset"] = _lines("""
    please reset my {password}
    please reset my {password} for {system}
    please reset the {password} of {person}
    can you reset the {password} of {person}
    could you [please|kindly|] reset my {password} {deadline}
    could you send me a new {password}
    would you mind resetting my {password} [for {system}|]
    I need a new {password} for {system}
    I need a [temporary|fresh|new|different|one-time] {password}
    I need a temporary {password} for {person}
    I need my {password} reset
    I need to change my {password} {deadline}
    how do I change my {password}
    how do I change my {password} in {system}
    how can I reset the {password} for {system}
    how can I recover my {password}
    how do I get back in after forgetting my {password}
    how to make new {password}
    where can I change my {password}
    where do I find the {password} reset page
    what is the [page|link|address|site] for changing the {password}
    what do I do when my {password} has expired
    what was my {password} again
    can somebody give me another {password}
    can you tell me my {password}
    can you look up my {password}
    can you send my {password} to [my phone|my private email|my manager]
    please set a new {password} for {system}
    please issue a new {password}
    please generate a new {password} for {person}
    please assign me a first {password}
    please mail me the initial {password}
    I would like to change my {password} {deadline}
    I would like to [set|pick|choose] a new {password}
    I want to have my {password} reset
    please send the reset link [once more|again|to {person}]
    please resend the {password} mail
    what are the rules for a new {password}
    how many characters does a {password} need
    can I choose my own {password} for {system}
    can I keep my old {password}
    may I use the same {password} again
    why do I have to change my {password} [again|so often|every month]
    how often must I change the {password}
    when does my {password} expire
    how long does a {password} reset take
    how long is the reset link valid
    can you extend my {password} for a few days
    can you turn off the {password} expiry
    please change my security question
    please update the phone number for {password} recovery
    is there a way to see my saved {password}
    who can reset {password}s in {department}
    can {person} pick up the new {password} for me
    please provide me with new login details for {system}
    please give me a fresh {password}
    could I get new credentials for {system}
    kindly do the needful and reset my {password}
    I request a {password} reset [for {system}|]
    do I need a new {password} after the leak
    can I reset my {password} [myself|{remotely}|on my phone]
    please trigger a {password} reset
    please wipe my old {password} and give me a new one
    please let me choose another {password}
    please refresh my credentials
    could you text me a one-time {password}
    help me recover my forgotten {password}
    remind me of my {password}
    tell me how to get a replacement {password}
    is there a self service for forgotten {password}s
    what are my login details for {system}
    what happens when my {password} runs out
    any chance to get my {password} back
    can you restore my previous {password}
    can you make my {password} never expire
""")

STATEMENTS["account_locked"] = _lines("""
    my {account} is {locked}
    my {account} is {locked} {when}
    my {account} has been [locked|blocked|disabled|suspended|deactivated|frozen] {point}
    my {account} was [locked|blocked|disabled|suspended|deactivated|frozen|closed] {point}
    my {account} got [locked|blocked|disabled|suspended|deactivated|banned]
    my {account} for {system} is {locked}
    my {account} in {system} was [locked|blocked|disabled|suspended]
    {account} {locked} [again|, please help|for {system}|]
    {account} of {person} is {locked}
    the {account} of {person} is {locked}
    the {account} of {person} was [blocked|locked|disabled] {point}
    {person} has a [locked|blocked|disabled|suspended|frozen] {account}
    {person} is locked out of {system}
    I am locked out of {system}
    I am locked out [again|completely|{when}]
    I got locked out of {system} {point}
    I have been locked out {since}
    I locked myself out [of {system}|again|by accident]
    I managed to lock my {account}
    {system} locked me out
    {system} says my {account} is {locked}
    {system} tells me that the {account} has been [disabled|locked|blocked|suspended]
    it says your {account} has been [locked|disabled|blocked|suspended], contact your administrator
    I get the message {account} [locked|disabled|blocked|suspended]
    I see the message: too many failed [attempts|logins|sign-ins]
    a message says [too many tries|try again later|user blocked|user disabled]
    I typed the wrong password {attempts} times and now I am [locked|blocked|locked out]
    I entered a wrong password {attempts} times, now the {account} is {locked}
    after {attempts} wrong tries my {account} is {locked}
    after {attempts} failed [attempts|logins|tries|sign-ins] I am [blocked|locked out|shut out]
    I mistyped my password {attempts} times and the system [blocked|locked] me
    caps lock was on, {attempts} attempts later my {account} is {locked}
    my [kid|cat|son|daughter] played with the keyboard and now my {account} is locked
    too many [tries|attempts|wrong logins], {account} blocked
    {attempts} wrong PINs and my [badge|card|SIM|smart card] is blocked
    wrong pin {attempts} times, card blocked
    my phone still has the old password and keeps locking my {account}
    an old device keeps locking me out
    something locks my {account} [every hour|every night|every few minutes|again and again]
    my {account} locks itself {often}
    my {account} gets locked {often}
    my {account} was unlocked {point} and is locked again
    you unlocked my {account} but it is still {locked}
    ten minutes after the unlock my {account} is locked once more
    I know my password, but the {account} is {locked}
    my password is right, but the {account} is {locked}
    the password is correct but {system} says user blocked
    I did not mistype anything and still my {account} is {locked}
    my {account} was disabled while I was [on leave|on vacation|ill|on parental leave|abroad]
    my {account} was deactivated after [my leave|parental leave|maternity leave|a long illness|my sabbatical]
    my {account} was switched off because I did not log in for [ninety days|three months|weeks]
    my {account} is inactive because I was away for [months|half a year|ten weeks]
    my {account} was closed by mistake
    HR closed my {account} too early
    HR marked me as [left|gone|retired|terminated] and my {account} is disabled
    my {account} was deleted or disabled although I still work here
    my {account} was disabled because my contract [ended|was renewed late|changed]
    my contract was extended but my {account} is still {locked}
    the contractor {account} of {person} is inactive
    the {account} of our external {job} [ran out|has expired|was shut off|is inactive]
    the guest {account} has been [disabled|closed|blocked]
    the {account} of our intern has ended too early
    my {account} expired [with my contract|at the end of the month|yesterday] and is now closed
    {person} came back from [maternity leave|parental leave|sabbatical|sick leave] and the {account} is {locked}
    {person} returns [today|tomorrow|on Monday] but the {account} is still disabled
    security [blocked|froze|suspended|disabled] my {account} [after a phishing mail|for strange activity|]
    my {account} was suspended for suspicious [activity|logins|sign-in]
    my {account} was blocked because of a login from {city}
    my {account} got frozen after I logged in {remotely}
    my {account} was flagged [as hacked|as risky|for spam] and blocked
    the admin disabled my {account}
    my {account} is disabled by the administrator
    my access to {system} was [revoked|withdrawn|blocked|cut off|suspended|taken away]
    my access to {system} has been [blocked|barred|stopped|suspended] {since}
    my user is not active [any more|any longer|in {system}]
    my user shows as [inactive|disabled|blocked|suspended] in {system}
    my profile is greyed out and marked as disabled
    my badge is blocked and opens no door
    my mailbox has been [suspended|disabled|blocked|frozen]
    my email is blocked, it says {account} suspended
    {system} has thrown me out and blocked my {account}
    {system} won't let me in because the {account} is {locked}
    I can't log in because my {account} is {locked}
    I cannot sign in, {account} {locked}
    I can't get into {system}, the {account} is {locked}
    no login possible, {account} {locked}
    login denied, user {locked}
    sign-in is blocked for my user
    sign in refused: {account} disabled
    access denied, my {account} has been [locked|disabled|suspended]
    {account} lockout {when}
    lockout [again|after {attempts} tries|on {system}]
    account lockout {often}
    blocked user, please check
    user blocked in {system}
    user {locked} since {first_name} tried my password
    {person} tried to log in as me and locked my {account}
    {person} used my PC and now my {account} is {locked}
    {person} cannot log in, {account} {locked}
    {person} typed the wrong password too often and is blocked
    {person} entered the wrong password {attempts} times and can't log in any more
    the whole team got locked out of {system}
    all users in {department} are locked out
    several accounts in {department} were [disabled|blocked|suspended]
    our shared {account} is {locked}
    our team {account} got blocked because everyone typed it wrong
    the service {account} for {system} is {locked}
    the test {account} is {locked}
    the admin {account} got locked
    the kiosk {account} was disabled
    the scanner {account} in {room} is blocked
    I have to wait [thirty minutes|fifteen minutes|an hour] until the lock ends
    the lock does not go away after [thirty minutes|an hour|a day]
    the automatic unlock did not [happen|work]
    still locked out after [an hour|two hours|a whole day]
    the unlock portal does not [work|know my user|help]
    the self service unlock gives error {error_code}
    my {account} is shut, nothing lets me in
    I am shut out of {system}
    I am barred from {system}
    I have been kicked out and banned from {system}
    I am blocked everywhere
    I am blocked in {system} [but not in Outlook|only|]
    Windows says the referenced {account} is currently locked out
    the lock icon appears next to my user name
    the login screen shows {account} disabled, error {error_code}
    error {error_code}: {account} locked
    the login is frozen after too many attempts
    my login is [dead|blocked|barred] since I typed rubbish {attempts} times
    I failed the login {attempts} times
    I failed the two factor prompt {attempts} times and got blocked
    I denied the sign-in prompt by accident and now my {account} is blocked
    the authenticator blocked my {account} after {attempts} codes
    my VPN {account} is locked after {attempts} wrong tries
    my VPN user was disabled
    wifi login blocked my {account} after too many wrong passwords
    typing my password wrong on the new keyboard has locked my {account}
    typed password wrong too often
    I typed it wrong too often, now nothing goes
    wrong password too many times
    my {account} is in state locked
    the status of my {account} is [disabled|suspended|inactive|locked]
    my user got locked since I changed the [password|phone|surname]
    I changed my name after the wedding and now my {account} is disabled
    after moving to {department} my {account} was [disabled|switched off|blocked]
    after the transfer from {department} my old {account} is closed
    since the merger my {account} is {locked}
    since the migration my {account} is {locked}
    after the security scan my {account} was [suspended|blocked]
    my {account} has been quarantined
    I did not do the security training so my {account} is suspended
    I missed the yearly check and my {account} was [turned off|disabled|suspended]
    my {account} is not enabled yet
    the {account} of the new {job} is not active yet
    the new {job} can't start, the {account} is still inactive
    my student {account} was deactivated
    my {account} be locked, please to open
    they have closed to me the {account}
    my user is lock
    it blocks me the user since {point}
    I have blocked my {account} without wanting
    oh no, I locked my {account} [again|, third time this week]
    guess what, locked out again
    for the love of god, my {account} is {locked} again
    why on earth is my {account} {locked}
    nothing works, my {account} seems to be {locked}
    looks like somebody disabled my {account}
    seems my {account} has been put on hold
    the system kicked me out and put my {account} on ice
    my {account} has been paralysed {since}
    intruder lockout on my {account}
    the security team pulled the plug on my {account}
    my {account} is on the blacklist
    my {account} is under [review|investigation] and was blocked
    the compliance officer has suspended my {account}
    fraud detection has blocked my {account}
    brute force alarm, my {account} was shut
    a padlock is shown at my name in {system}
    a red banner says this user is [disabled|suspended|blocked]
    a popup says your sign-in was blocked
    it says this {account} has been disabled, see your system administrator
    it says exceeded maximum number of [attempts|logins|tries]
    it says no more attempts left
    zero attempts remaining
    three strikes and I am out of {system}
    I fumbled the password {attempts} times and tripped the lock
    I was too stupid to type and got locked out
    fat fingers, {attempts} wrong passwords, {account} {locked}
    my gloves were on, typed the code wrong {attempts} times, now blocked
    my toddler hit enter a hundred times and the {account} is {locked}
    some script hammers {system} with an old password and locks my {account}
    a scheduled task locks the {account} {often}
    my tablet at home keeps locking my {account} with outdated credentials
    the lock comes back {often}
    I am not allowed to log on, says {system}, my user is {locked}
    you do not have permission to sign in, user deactivated
    my freelancer {account} ended although the project goes on
    the visa of my {account} ran out: user inactive since the contract date passed
    the end date of my {account} was wrong and it closed
    my {account} was offboarded by mistake
    I resigned but stay until June, my {account} is already closed
    I am retired part-time and my {account} was switched off
    the seasonal workers' accounts are still disabled from last year
    the leaver process hit the wrong person, my {account} is gone inactive
    I returned from a sabbatical to a deactivated {account}
    after six months of illness my {account} is dormant
    our {job} was suspended by accident in {system}
    my supplier login is barred
    my customer login is [suspended|frozen|barred]
    my smart card is blocked
    my SIM is blocked and wants a PUK
    my token is blocked after {attempts} wrong PINs
    {account} jammed shut
    locked user
    user disabled
    account suspended
    account blocked, can't work
""")

REQUESTS["account_locked"] = _lines("""
    please {unlock} my {account}
    please {unlock} my {account} {deadline}
    please {unlock} the {account} of {person}
    please {unlock} my {account} for {system}
    please {unlock} my user
    can you {unlock} my {account}
    can you please {unlock} the {account} of {person}
    could you {unlock} my {account} {deadline}
    could somebody {unlock} my {account}
    would you kindly {unlock} my {account}
    kindly {unlock} my {account}
    I need you to {unlock} my {account}
    I need my {account} [unlocked|reactivated|enabled|unblocked|released] {deadline}
    I would like to have my {account} [unlocked|reactivated|unblocked|enabled again]
    I want my {account} back, it was [disabled|blocked|suspended]
    {unlock} my {account}
    {unlock} {account} pls
    unlock pls
    unlock needed for {account}
    unlock [user|account] of {person}
    how do I unlock my {account}
    how can I get my {account} [unlocked|unblocked|reactivated|active again]
    how can I remove the block from my {account}
    how long does the lock last
    how long will my {account} stay {locked}
    how many attempts do I have before the lockout
    after how many wrong tries is an {account} locked
    when will my {account} be [unlocked|active again|released|enabled]
    who can unlock [my {account}|users|accounts] [at night|on weekends|in {city}|]
    who blocked my {account}
    who disabled my user and why
    why is my {account} {locked}
    why was my {account} [locked|suspended|disabled|blocked]
    why am I locked out
    why do I get locked out {often}
    why does my {account} lock {often}
    what locks my {account} every night
    what do I do when my {account} is {locked}
    is my {account} {locked}
    is my {account} still blocked
    can you check if my {account} is {locked}
    can you check which device locks my {account}
    can you find out what is locking my {account}
    can I unlock my {account} myself
    can my manager unlock my {account}
    please lift the suspension of my {account}
    please remove the lock
    please lift the block
    please make my {account} active again
    please extend the {account} of {person}, it is now disabled
    please prolong my contractor {account}, it was switched off
    please switch my user back on
    please open my {account} again
    please clear the failed logins for my {account}
    please undo the lockout of {person}
    please let me back in, my {account} is {locked}
    please reactivate {person} in {system}
    please enable the disabled {account} of {person}
    please get {person} unlocked {deadline}
    please do not disable my {account} during my leave
    I ask for the release of my blocked {account}
    I request the reactivation of my {account}
    do I have to wait until the lock goes away
    does the lock end by itself
    is it possible to get unlocked by phone
    has my {account} been closed
    what must I do to become unblocked
    may I have the user of {person} unlocked
    please get my {account} out of the lockout
    please wake up my dormant {account}
    please take my {account} off the blacklist
    please confirm that my {account} is not suspended
    please tell me the reason for the lock
    please tell security to release my {account}
    please unlock me
    please unblock {person}
    I beg you to {unlock} my {account}
    let me in again, I am locked out
    free my {account} from the lock
    on whose order was my {account} disabled
    what triggered the lockout of my {account}
    would it be possible to {unlock} my {account}
    how do I appeal a suspended {account}
    what is the PUK for my blocked SIM
""")

STATEMENTS["vpn_access"] = _lines("""
    {vpn} {vpn_fails}
    {vpn} {vpn_fails} {remotely}
    {vpn} {vpn_fails} {when}
    {vpn} {vpn_fails} [after the update|since I moved|in my new flat|with my new router]
    I can't connect to {vpn}
    I can't connect to {vpn} {remotely}
    I cannot get {vpn} to work {remotely}
    I can't reach {internal} {remotely}
    I can't open {internal} {remotely}
    I cannot access {internal} {remotely}
    I have no access to {internal} {remotely}
    {internal} cannot be reached {remotely}
    {internal_one} is not reachable over {vpn}
    {internal_one} is invisible {remotely}
    {internal_one} does not open {remotely} although {vpn} is connected
    {vpn} is connected but I can't see {internal}
    {vpn} says connected but nothing loads
    {vpn} connects but {internal_one} stays unreachable
    {vpn} asks for a [token|code|certificate|second factor|gateway|server address] I don't have
    {vpn} asks for the gateway name
    {vpn} wants a certificate
    {vpn} complains about a missing certificate
    the VPN certificate [has expired|is missing|is invalid|is not trusted|runs out tomorrow]
    the certificate for remote access is out of date
    my VPN token [is not accepted|is out of sync|shows no code|expired|got lost|is empty]
    my [RSA token|token|key fob|soft token] for {vpn} does not work
    the authenticator code for {vpn} is rejected
    the authenticator app does not ring when I start {vpn}
    I got a new phone and the authenticator for {vpn} is gone
    the push message for {vpn} never comes
    the tunnel [collapses|breaks down|drops|closes|dies] {often}
    the tunnel [does not come up|cannot be built|is not established|goes down]
    the tunnel drops every [ten|five|thirty|twenty] minutes {remotely}
    the secure connection to {internal} drops {often}
    the secure connection to the office breaks off
    the connection to the office is lost when I work {remotely}
    the remote session freezes {remotely}
    my remote desktop session [disconnects|closes|drops|freezes] {remotely}
    remote desktop to my office PC fails {remotely}
    remote desktop does not find my PC {remotely}
    I can't dial in {remotely}
    dialing in to {internal} fails {remotely}
    dial-in to the company [does not work|is impossible|fails]
    no dial in possible {remotely}
    {person} can't connect to {vpn}
    {person} can't dial in {remotely}
    {person} needs remote access to {internal}
    {person} needs VPN
    {person} has no VPN yet
    {person} cannot reach {internal} {remotely}
    I work {remotely} and can't get to {internal}
    I work {remotely} and have no connection to {internal}
    I work {remotely} and need {internal}
    I am {remotely} and {vpn} {vpn_fails}
    I am sitting in {city} and can't get into {internal}
    I am travelling and can't get into {internal}
    I'm [in a hotel|at the airport|at a customer|at home] and {vpn} {vpn_fails}
    from the hotel {vpn} {vpn_fails}
    at home {vpn} {vpn_fails}, in the office all is well
    in the office everything works but {remotely} I reach nothing
    {internal_one} works in the office but not {remotely}
    my home internet is fine but {vpn} {vpn_fails}
    my home wifi works, but {vpn} {vpn_fails}
    internet works at home, only {internal_one} does not
    websites open fine {remotely}, just not {internal}
    the hotel blocks {vpn}
    the hotel wifi works but VPN is blocked
    the customer firewall blocks our VPN
    my home router blocks {vpn}
    my provider changed and now {vpn} {vpn_fails}
    my mobile hotspot works but {vpn} {vpn_fails}
    with the phone hotspot {vpn} connects, with my home line it does not
    {vpn} is very slow {remotely}
    {vpn} is slow as a snail {when}
    copying files over {vpn} takes forever
    video calls stutter when {vpn} is on
    with VPN on, my internet is gone
    when {vpn} is on I can't print at home
    when {vpn} is active I can't open other websites
    split tunnel [is not working|seems to be off|was switched off]
    all my traffic goes through the tunnel and everything is slow
    DNS does not resolve {internal} over VPN
    names of internal servers are not found over VPN
    {vpn} gives error {error_code}
    {vpn} error {error_code} {remotely}
    {vpn} stops with error {error_code} [at login|after the token|while connecting]
    {vpn} shows gateway not responding
    {vpn} reports no valid gateway
    the gateway [does not answer|is not reachable|rejects me|cannot be found]
    {vpn} stays on connecting forever
    {vpn} spins and spins
    {vpn} just says connection failed
    {vpn} says authentication failed
    {vpn} login fails {remotely}
    {vpn} keeps asking me to sign in
    {vpn} ends after [one minute|an hour|ten minutes]
    {vpn} logs me off {often}
    {vpn} disconnects when I [close the lid|start a call|walk away|switch to wifi]
    {vpn} does not reconnect after standby
    the VPN icon [is red|is grey|is gone|has disappeared|shows a yellow sign]
    the VPN button is greyed out
    the VPN profile [is missing|is empty|got deleted|has the wrong server]
    there is no VPN profile on my new {device}
    my new {device} has no VPN access
    VPN on my {device} is not set up
    {vpn} is missing on my {device}
    I have no permission for VPN
    I am not in the VPN group
    my VPN permission [ran out|was not renewed|is missing|was removed]
    I never used VPN before and don't know how
    I have to work {remotely} [tomorrow|next week|from Monday on|this month] and have no VPN
    I will be [abroad|in {city}|travelling] next week and need {internal}
    I go on a business trip and must reach {internal}
    I start home office [tomorrow|next week|on Monday] and need access to {internal}
    home office is approved, VPN is missing
    my child is sick so I must work {remotely} and can't reach {internal}
    I am snowed in and cannot connect to the office
    train strike, must work {remotely}, no VPN
    no connection to {internal} {remotely}
    no VPN [today|{remotely}|since the update|again]
    no access to {internal} {remotely}
    VPN down?
    VPN [dead|broken|kaputt|not working|down|problem] {remotely}
    vpn disconnects {often}
    vpn token needed
    vpn access for {person}
    vpn wont connect {remotely}
    cannot vpn in
    can't vpn into {internal} {remotely}
    home office without VPN
    remote access [not working|needed|request|gone] {when}
    remote login to {internal} impossible
    my mapped drives are gone when I work {remotely}
    the network drives vanish {remotely}
    my drives show a red cross {remotely}
    my shares only work in the office, not {remotely}
    I can't get my files on {internal} when I am {remotely}
    Outlook works {remotely} but {internal_one} does not
    I only see {internal} when I am in the building
    {internal_one} tells me I must be in the company network, but I work {remotely}
    page says only available inside the network, I'm working {remotely}
    the external supplier cannot connect to our servers through the VPN
    our partner company needs a tunnel to {internal}
    the tunnel between {city} and {city} is down
    the site to site tunnel to {city} is down
    our branch in {city} lost its tunnel to the headquarters
    two people can't use {vpn} at the same time
    {vpn} says too many sessions
    {vpn} says licence limit reached, nobody can dial in
    {vpn} is full {often}
    {vpn} does not run on my private {device}
    my tablet cannot use {vpn}
    my phone can't open {internal} on the go
    I am in China and {vpn} {vpn_fails}
    from abroad {vpn} refuses me
    the country I am in seems to be blocked for {vpn}
    my home IP address is blocked by the gateway
    since the new router at home {vpn} {vpn_fails}
    since the Windows update {vpn} {vpn_fails}
    after the password change {vpn} still fails to connect {remotely}
    the always-on VPN does not start
    VPN should start by itself but does not
    I can not enter in {internal} {remotely}
    VPN he does not connect
    I want make home office but no connection with the firm
    it don't goes the VPN in my house
    I sit at home like a fool and {vpn} {vpn_fails}
    how am I supposed to work {remotely} if {vpn} {vpn_fails}
    stupid VPN throws me out {often}
    VPN drives me nuts {remotely}
    third time the tunnel dropped {point}
    {vpn} worked from {city} but not from {city}
    citrix does not open {remotely} because there is no tunnel
    I can't ping any internal server over {vpn}
    jump host not reachable over {vpn}
    my SSH session to {internal} dies when the tunnel drops
    my laptop refuses to build the tunnel {remotely}
    the handshake with the gateway fails
    phase two negotiation fails, says {vpn}
    IPsec [fails|drops|is blocked] {remotely}
    SSL VPN [fails|drops|is blocked] {remotely}
    {vpn} hangs at verifying credentials
    {vpn} hangs at checking posture
    {vpn} host check says my {device} is not compliant
    {vpn} says the server certificate does not match
    {vpn} says untrusted server blocked
    {vpn} tells me another session is open
    {vpn} wants a six digit code
    {vpn} wants a fingerprint I never set up
    the YubiKey is ignored by {vpn}
    the key fob battery died, so no VPN code
    the smart card is not read by {vpn}
    the second factor for remote login is missing
    no push for the remote login on my phone
    mobile working is impossible, {internal_one} stays away
    telecommuting fails, no way into {internal}
    distance working: no link to {internal}
    I am the only one in the team who cannot dial into {internal}
    my home desk has no link to {internal}
    working on a train, the tunnel tears down at every bridge
    satellite internet here and {vpn} {vpn_fails}
    over LTE {vpn} {vpn_fails}
    on my mobile data {vpn} {vpn_fails}
    over fibre at home {vpn} {vpn_fails}
    I swapped my home router and {vpn} {vpn_fails}
    I moved house and {vpn} {vpn_fails}
    our field staff can't reach {internal}
    the sales reps on tour have no access to {internal}
    the freelancers abroad cannot enter {internal}
    our supplier wants to service the machine remotely but has no tunnel
    remote maintenance through the tunnel is down
    remote support partner can't dial in
    RDP to my desk machine fails {remotely}
    remote desktop gateway rejects me
    my remote screen stays black when I use the tunnel
    virtual desktop not reachable {remotely}
    the portal for external access does not load
    external access to {internal_one} gone
    outside access broken
    offsite access denied
    I can reach Google but not {internal} {remotely}
    Netflix works in my living room, {internal_one} does not
    everything outside works, only the company side is missing {remotely}
    {internal_one} times out {remotely}
    mapped drive H is missing {remotely}
    {vpn} throws a routing error
    {vpn} hands me a wrong IP address
    {vpn} has no DNS
    {vpn} bandwidth is miserable {remotely}
    {vpn} eats half my internet speed
    {vpn} connects only after the fifth try
    {vpn} goes to sleep {often}
    {vpn} was fine in {city}, since the border it refuses
""")

REQUESTS["vpn_access"] = _lines("""
    I need [VPN|remote access] [{deadline}|for home office|for my trip to {city}]
    I need access to {internal} {remotely}
    I need to reach {internal} {remotely}
    I need a VPN [token|profile|certificate|login|account|connection] {deadline}
    I would like to work {remotely} and use {internal}
    I would like to request VPN for {person}
    please set up {vpn} for {person}
    please set up VPN on my {device}
    please give me access to {internal} {remotely}
    please grant me remote access
    please give {person} remote access to {internal}
    please add me to the VPN group
    please add {person} to the VPN users
    please send me [the VPN instructions|the gateway address|a token for {vpn}|the VPN settings]
    please renew my VPN certificate
    please renew my remote access
    please extend the VPN access of {person}
    please sync my VPN token
    please register my new phone as authenticator for {vpn}
    please enable split tunnel
    please open the firewall so I can dial in {remotely}
    please check {vpn}
    please check the tunnel to {city}
    please restart the VPN gateway
    can you check why {vpn} {vpn_fails}
    can you give me VPN [for my trip|from Monday|for next week|for two weeks]
    can you help me connect {remotely}
    can I use {vpn} [on my private laptop|on my phone|abroad|on a Mac]
    can I work {remotely} without VPN
    can I use remote desktop {remotely}
    can I get a second token for {vpn}
    can {person} get remote access to {internal}
    can we get VPN for our [partners|freelancers|supplier|external auditors]
    could you activate remote working for {person}
    could you look at {vpn} {deadline}
    how do I connect to {internal} {remotely}
    how do I set up {vpn}
    how do I set up {vpn} on my {device}
    how can I open {internal} {remotely}
    how do I get to my files on {internal} {remotely}
    how do I dial in {remotely}
    how do I log in to {vpn} the first time
    how can I request VPN
    how to use VPN in {city}
    where do I get a token for {vpn}
    where can I find the VPN guide
    which gateway do I use {remotely}
    which gateway should I choose in {city}
    what is the server address for {vpn}
    what do I enter as [server|gateway|domain|second password] in {vpn}
    why does {vpn} drop {often}
    why does {vpn} ask for a token
    why is {vpn} so slow {remotely}
    why can't I see {internal} {remotely}
    is {vpn} down
    is there a problem with {vpn} {when}
    is there maintenance on the VPN gateway
    is VPN allowed [in {city}|abroad|outside Europe]
    do I need VPN for {internal}
    do I need {vpn} when I work {remotely}
    does {vpn} work on my {device}
    who approves VPN access
    may I access {internal} {remotely}
    kindly provide VPN access to {person}
    request for remote access for {person}
    what do I need to work {remotely}
    when will VPN be back
    please let me dial in {remotely}
    please enrol my {device} for {vpn}
    please order a hardware token for {person}
    please whitelist my home address for {vpn}
    please book VPN for my whole team
    please open remote desktop for {person}
    please make {internal} reachable {remotely}
    please prolong my token
    can you unblock VPN traffic for the hotel
    can you reset my VPN tunnel
    can I get to {internal} {remotely}
    can I connect to {internal} with my tablet {remotely}
    is there a way into {internal} {remotely}
    is split tunnel allowed
    is remote access possible {remotely}
    what is required for telework
    how do external partners get a tunnel
    how do I check whether I am on {vpn}
    how do I import the VPN profile
    how do I renew the certificate for {vpn}
    how do I pair the authenticator with {vpn}
    I want to do home office and need {internal}
""")

STATEMENTS["wifi_problem"] = _lines("""
    the {wifi} {wifi_fails}
    the {wifi} {wifi_fails} in {room}
    the {wifi} {wifi_fails} {when}
    the {wifi} {wifi_fails} {often}
    the {wifi} {wifi_fails} on my {device}
    the {wifi} {wifi_fails} during [calls|video meetings|lessons|every meeting]
    the {wifi} in {room} {wifi_fails}
    the {wifi} in {room} {wifi_fails} {when}
    the {wifi} here {wifi_fails}
    our {wifi} {wifi_fails} {when}
    the {wifi} [on the second floor|on the top floor|on the ground floor|upstairs|downstairs] {wifi_fails}
    the guest {wifi} {wifi_fails}
    no {wifi} in {room}
    no {wifi} {when}
    no {wifi} on my {device}
    there is no {wifi} in {room}
    there is no wireless signal in {room}
    there is no reception in {room} for the wireless
    there are no wireless networks in the list
    my {device} does not see any network
    my {device} does not find the {wifi}
    my {device} finds no {wifi} in {room}
    my {device} finds no wireless networks
    my {device} shows [no networks|no bars|no internet|limited connection|not connected] in {room}
    my {device} sees the neighbours' network but not ours
    my {device} does not join the {wifi}
    my {device} can't connect to the {wifi}
    my {device} cannot connect to the {wifi} in {room}
    my {device} loses the {wifi} {often}
    my {device} loses {wifi} when I [walk|move|go] to {room}
    my {device} drops off the {wifi} {often}
    my {device} keeps falling off the network in {room}
    my {device} connects to the wrong network
    my {device} sticks to the guest network
    my {device} jumps between two access points
    my {device} says the network [cannot be joined|is out of range|is not in range|needs a password]
    my {device} says connected, no internet
    my {device} only works by cable, not on {wifi}
    I can't connect to the {wifi}
    I can't get on the {wifi} in {room}
    I cannot join the {wifi} with my {device}
    I have no {wifi} in {room}
    I have no signal in {room}
    I have only one [bar|stripe] of {wifi} in {room}
    I have to [stand by the window|walk to the door|sit in the corridor] to get {wifi}
    I lose the {wifi} {often}
    I get thrown out of the {wifi} {often}
    I keep losing the network in {room}
    I keep getting disconnected from the {wifi}
    I can't see the company SSID
    the SSID [is gone|is missing|is hidden|does not appear|has vanished] in {room}
    the network name is not in the list [any more|on my {device}|in {room}]
    the network has disappeared from my {device}
    the access point in {room} [is dead|blinks red|has no light|is off|is down|flashes orange]
    the wireless router in {room} [blinks red|is off|seems dead|shows no light]
    the little white box on the ceiling in {room} is dark and there is no {wifi}
    the hotspot in {room} [does not work|is gone|is slow|has no internet]
    the mobile hotspot [drops|is slow|is not found by my {device}]
    the signal is [weak|poor|bad|too low|terrible|faint] in {room}
    the signal bars jump up and down in {room}
    the signal disappears when the door is closed
    signal strength in {room} is [zero|one bar|very low|awful]
    {room} is a dead spot
    {room} is a dead zone for {wifi}
    dead spot in {room}
    weak coverage in {room}
    the coverage in {room} is [bad|poor|thin|nearly zero]
    reception is poor in {room}
    wireless reception is [bad|terrible|poor] in {room}
    the internet is slow on {wifi}
    the internet in {room} is super slow over {wifi}
    internet drops in {room} when I am on {wifi}
    pages load forever on the {wifi}
    pages take minutes to load over {wifi} in {room}
    downloads crawl on the {wifi} in {room}
    speed on the {wifi} is [below one megabit|like a modem|awful|a joke]
    videos [buffer|keep buffering|stutter|freeze] over the {wifi}
    everything buffers on {wifi}
    video calls [freeze|break up|drop|stutter] over {wifi} in {room}
    my calls break up when I am on {wifi}
    Teams calls freeze because the {wifi} {wifi_fails}
    the ping on {wifi} is [huge|through the roof|over a second]
    high latency on the {wifi}
    by cable it is fast, over {wifi} it is slow
    with the network cable all is fine but the {wifi} {wifi_fails}
    the cable works but {wifi} does not
    the wireless icon shows [a yellow triangle|a red cross|a globe|an exclamation mark]
    the wifi symbol is [gone|grey|crossed out|missing] on my {device}
    the wifi switch on my {device} is off and won't turn on
    wifi can't be turned on on my {device}
    airplane mode is off but there is no {wifi}
    {wifi} in {room} [too weak|very weak|bad|slow|dead|missing]
    {wifi} slow [again|in {room}|today]
    {wifi} gone [again|in {room}|]
    {wifi} down [in {room}|again|?]
    {wifi} drops {often}
    {wifi} disconnects {often}
    {wifi} kicks me off {often}
    {wifi} bad {when}
    wifi problem in {room}
    bad wifi in {room}
    weak wifi in {room}
    wireless not working in {room}
    wlan kaputt in {room}
    wifi crap again
    the {wifi} asks for a password [again and again|all the time|I don't have|every time]
    the {wifi} does not accept the key
    the {wifi} key has changed and my {device} can't join
    the guest {wifi} wants a voucher
    the guest {wifi} login page does not [open|appear|load]
    the voucher for the guest {wifi} [is invalid|has expired|does not work]
    our visitors can't get on the guest {wifi}
    visitors in {room} have no {wifi}
    guests can't find the guest network
    {person} can't connect to the {wifi}
    {person} has no {wifi} in {room}
    {person} can't get the phone onto the {wifi}
    {person} loses the wireless connection {often}
    {person} complains about slow {wifi} in {room}
    nobody in {room} has {wifi}
    everyone in {room} is without {wifi}
    everyone in {department} complains about the {wifi}
    in {room} the {wifi} {wifi_fails}
    in {room} I get no signal
    in {room} nobody gets online wirelessly
    near the [window|lift|elevator|microwave|stairs] the {wifi} {wifi_fails}
    when the microwave runs the {wifi} {wifi_fails}
    when many people are in {room} the {wifi} {wifi_fails}
    the {wifi} breaks down when the room is full
    when it rains the outdoor {wifi} {wifi_fails}
    as soon as I leave my desk the {wifi} {wifi_fails}
    the {wifi} does not reach {room}
    the {wifi} doesn't come back after standby
    after sleep mode my {device} does not reconnect to the {wifi}
    after the update my {device} finds no {wifi}
    since the renovation the {wifi} in {room} {wifi_fails}
    since the new access point the {wifi} {wifi_fails}
    since they moved the router the {wifi} in {room} {wifi_fails}
    the new desks in {room} are out of wifi range
    the handheld scanners in {room} lose the {wifi}
    the forklift terminals lose the wireless in {room}
    the wireless printer in {room} loses the {wifi}
    the wireless printer is not on the {wifi} any more
    the TV in {room} does not connect to the {wifi}
    the tablets in {room} can't get on the wireless
    my {device} gets no IP address on the {wifi}
    the {wifi} says obtaining IP address forever
    the {wifi} says authentication problem
    the {wifi} gives error {error_code} on my {device}
    the 5 GHz network is missing in {room}
    only the 2.4 GHz band shows up on my {device}
    roaming between access points fails on the way to {room}
    my hotel-like connection: the {wifi} {wifi_fails}
    my home wifi is fine, but the office {wifi} {wifi_fails}
    VPN is not the issue, the {wifi} itself {wifi_fails}
    VPN drops only because the {wifi} in {room} {wifi_fails}
    the connection is unstable in {room}, only on wireless
    it disconnects me from wireless {often}
    the wireless connection is interrupted {often}
    wireless throws me off in the middle of a call
    I must use my phone data because the {wifi} {wifi_fails}
    I use my private hotspot since the office {wifi} {wifi_fails}
    the {wifi} don't goes in {room}
    is no signal of {wifi} in {room}
    I have not internet by {wifi}
    the wifi it falls every moment
    seriously, the {wifi} in {room} is a joke
    the {wifi} is a nightmare {when}
    carrier pigeons would be faster than the {wifi} in {room}
    cannot stream the {event}, {wifi} too slow
    wireless mouse is fine, but the wireless network {wifi_fails}
    wireless coverage in {room} is missing
    one floor up the {wifi} is great, here it {wifi_fails}
    the antenna in {room} hangs loose and the {wifi} {wifi_fails}
    interference in {room}, the {wifi} {wifi_fails}
    the fan-shaped symbol at the bottom of my screen is empty, no wireless
    only one dot of the wifi symbol is lit in {room}
    my {device} hops between networks {often}
    my {device} forgets the {wifi} {often}
    my {device} clings to a faraway access point
    my {device} shows networks of the bakery next door but not ours
    my {device} says unable to join network
    my {device} says weak security and drops the {wifi}
    my {device} says no wireless found
    my {device} spins at checking network requirements
    my {device} is offline in {room} unless I plug in a cable
    my {device} gets kicked from the wireless when I start a call
    thick walls swallow the signal in {room}
    the concrete in {room} kills the signal
    the metal shelves in {room} shield the wireless
    the lift shaft shields the {wifi}
    behind the pillar in {room} the {wifi} {wifi_fails}
    far corner of {room}: zero bars
    no bars in {room}
    two bars only and everything lags
    one has to climb on a chair to get wireless in {room}
    the router in {room} needs a kick every day
    the router in {room} blinks orange
    the mesh node in {room} is offline
    the repeater in {room} has no light
    the range extender in {room} does nothing
    the antenna on the ceiling of {room} blinks purple
    an electrician unplugged the access point in {room}
    somebody switched off the access point in {room}
    an access point fell off the ceiling and now there is no {wifi}
    the wireless is jammed by [a microwave|a drone|a baby monitor|the neighbours]
    too many visitors share the {wifi} in {room}
    the guest portal loops after I accept the terms
    the splash page of the guest {wifi} is blank
    the captive portal never opens
    the QR code for the guest {wifi} does not work
    voucher for guests is refused
    visitors complain they are offline in {room}
    the speakers can't get online in {room}
    our customers in {room} ask for {wifi} but it {wifi_fails}
    casting the screen over {wifi} stutters in {room}
    streaming over the {wifi} is choppy
    voice calls over the {wifi} sound like robots
    my picture freezes in calls as soon as I use the {wifi}
    web pages load like in the nineties over {wifi}
    mails take minutes to send over the {wifi}
    upload over {wifi} is close to zero
    speed test on {wifi} in {room}: [0.3|1|two] megabit
    packet loss on the wireless
    the cordless phones in {room} lose the network
    the scales in {room} are wireless and keep losing the network
    the picking robots in {room} lose wireless contact
    the sensors in {room} fall off the wireless
    the till tablets in {room} have no {wifi}
    the Chromebooks of the pupils do not join the {wifi}
    the iPads in {room} drop off the {wifi} {often}
    my Mac sees the {wifi} but won't join
    my Android can't get on the office network without a cable
    wireless off and on like a disco
    wireless blackout in {room}
    internet without cable impossible in {room}
    no internet on my {device} in {room}, the bars are empty
    internet in {room} drops {often}
    internet in {room} is slow {when}
    outage of the wireless on [our floor|two floors|the whole site]
    laptop wifi on and off in {room}
""")

REQUESTS["wifi_problem"] = _lines("""
    please check the {wifi} in {room}
    please check the access point in {room}
    please fix the {wifi} in {room} {deadline}
    please fix the {wifi}
    please restart the access point in {room}
    please install another access point in {room}
    please boost the signal in {room}
    please improve the {wifi} in {room}
    please extend the wireless coverage to {room}
    please look at the wireless in {room}
    please send me the wifi key
    please give me access to the {wifi}
    please give our visitors access to the guest {wifi}
    please create a guest {wifi} voucher for {person}
    please connect my {device} to the {wifi}
    please help me connect my {device} to the wireless
    please measure the signal in {room}
    can you [check|fix|restart|repair|improve] the {wifi} in {room}
    can you make the {wifi} in {room} [faster|stronger|better|more stable]
    can you help me get on the {wifi}
    can you put my {device} on the {wifi}
    can we get [better|stronger|faster|more stable] {wifi} in {room}
    can we have an extra access point in {room}
    can we get a repeater in {room}
    can I use the {wifi} with my private phone
    can {person} use the guest {wifi}
    could someone look at the {wifi} in {room} {deadline}
    could you see why the {wifi} {wifi_fails} in {room}
    how do I connect to the {wifi}
    how do I connect my {device} to the {wifi}
    how do I join the guest network
    how do I get on the {wifi} with a new {device}
    how do guests get {wifi}
    what is the [name|password|key|SSID] of the {wifi}
    what is the wifi password for visitors
    what is wrong with the {wifi} in {room}
    what's up with the {wifi} today
    which network should I use in {room}
    which SSID is for staff
    which wifi is for [visitors|staff|phones|printers]
    where is the nearest access point to {room}
    where in the building is there {wifi}
    where can I get a decent wireless signal
    why is the {wifi} so [slow|weak|bad|unstable] in {room}
    why does the {wifi} drop {often}
    why do I lose the {wifi} in {room}
    why is there no {wifi} in {room}
    why can't my {device} see the network
    why does my {device} not connect to the {wifi}
    is the {wifi} down
    is the {wifi} down in {room}
    is there a {wifi} outage {when}
    is there {wifi} in {room}
    is there a guest network for {person}
    does anyone else have trouble with the {wifi} in {room}
    do we have {wifi} in {room}
    when will the {wifi} in {room} be fixed
    when will the wireless be back
    I need {wifi} in {room} for the {event}
    I need a stable {wifi} in {room} {deadline}
    I need the wireless key for my {device}
    I would like {wifi} in {room}
    we need more bandwidth on the {wifi} in {room}
    we need a wireless network for the {event} in {room}
    request: {wifi} for {room}
    guest wifi code for {person} please
    may I get the wlan key
    please hang an access point in {room}
    please find out why the signal is weak in {room}
    please bring the wireless in {room} back to life
    please print guest wifi vouchers for the {event}
    please raise the number of guests on the {wifi}
    please tell me the wifi code
    please make the {wifi} reach {room}
    please whitelist my {device} on the {wifi}
    please register the new handhelds on the {wifi}
    what can I do about weak {wifi} in {room}
    what is the range of the access point in {room}
    how fast should the {wifi} be
    how do I forget and rejoin the {wifi}
    how do I switch to the 5 GHz band
    could the wireless in {room} be boosted
    are there dead spots in {room}
    any news on the {wifi} outage
    anybody else without {wifi}
""")

STATEMENTS["software_install"] = _lines("""
    I need {app} on my {device}
    I need {app} [{deadline}|for {work}|for my new job|for a project]
    I need {app} installed [{deadline}|on my {device}|for {work}]
    I need the latest version of {app}
    I need version {version} of {app}
    I need {app} {version}
    I need a license for {app}
    I need a new license key for {app}
    I need a [full|paid|team|student|named] licence of {app}
    I need admin rights to install {app}
    I need a {tool_kind} on my {device}
    I need a {tool_kind} for {work}
    I need the {addon} for {app}
    I need the {addon} for the new {printer}
    I don't have {app} yet
    I don't have {app} on my new {device}
    {app} is missing on my {device}
    {app} is not installed [on my {device}|yet|any more]
    {app} is gone after the reinstall
    {app} was removed from my {device} and I need it back
    my new {device} has no {app}
    my new {device} came without {app}
    the new {device} of {person} lacks {app}
    {app} is outdated
    {app} is out of date on my {device}
    {app} is too old to open the files of {person}
    {app} asks for an update
    {app} asks for a [license key|serial number|product key|license|activation code|registration]
    {app} asks for activation
    {app} asks for admin rights when I update it
    {app} says the license [has expired|is invalid|is in use|was not found|ends soon|could not be verified]
    {app} says my trial [is over|has ended|ends in three days|expired]
    {app} says unlicensed product
    {app} runs in reduced mode until it is activated
    {app} is not activated
    {app} cannot be activated, error {error_code}
    {app} can't be installed [on my {device}|, error {error_code}|]
    {app} won't install
    {app} does not install on my {device}
    {app} won't update
    {app} does not update [itself|any more|, error {error_code}]
    {app} fails to update [with error {error_code}|{often}|]
    {app} [update|upgrade|setup|installation] [fails|hangs|stops|breaks off|is stuck|crashes] [at 90 percent|with error {error_code}|halfway|]
    {app} crashes since the last update
    {app} does not start after the update
    {app} opens and closes since the new version
    {app} needs a newer version of [Java|.NET|Windows|the runtime|Python]
    {app} needs the {addon}
    {app} is still version {version}, everyone else has the new one
    {app} {version} please
    {app} installieren bitte
    {app} license [expired|missing|needed|key lost]
    {app} wanted
    {app} for {person}
    {app} update needed
    {app} installation on my {device}
    the installer of {app} [asks for admin rights|stops|hangs|crashes|shows error {error_code}|wants a password of an admin]
    the installer says I am not [an administrator|allowed to do that|authorised]
    the setup of {app} [fails|aborts|stops|never finishes|rolls back]
    the setup file is blocked [by the virus scanner|by policy|by Windows]
    the installation of {app} [failed|is incomplete|was cancelled|takes forever]
    the update of {app} [failed|is stuck|keeps failing|never ends|broke something]
    the upgrade to {app} {version} [failed|is overdue|does not start]
    the trial of {app} [is over|ends today|has run out|expires tomorrow]
    the trial version of {app} has ended, I need the full one
    the license for {app} [ran out|expires tomorrow|is gone|belongs to {person}|is not assigned to me]
    the license server for {app} [does not answer|is not found|says all seats are taken]
    the serial number of {app} is not accepted
    the license key for {app} does not work
    all licences for {app} are in use
    we ran out of {app} licences
    we need [two|three|ten|five|twenty] more licences of {app}
    we need {app} on all computers in {room}
    we need {app} for {department}
    we need a {tool_kind} in {department}
    our subscription for {app} [has lapsed|is about to end|was not renewed]
    the {addon} for {app} is [missing|outdated|disabled|not loaded|not compatible]
    the {addon} in {app} disappeared after the update
    the {addon} does not install
    the printer driver is missing on my {device}
    I need the printer driver for the {printer}
    the driver for the [scanner|printer|camera|tablet|graphics card|dock] must be installed
    Windows wants a driver for my new {part}
    the software center [is empty|does not open|does not list {app}|hangs|shows pending]
    the software center shows failed for {app}
    the company app store does not have {app}
    {app} is not in the software catalogue
    I can't find {app} in the software [center|portal|catalogue|kiosk]
    I can't install {app}
    I can't install {app} without admin rights
    I can't update {app} [without a password of an administrator|on my {device}|]
    I can't open the files because I lack {app}
    I can't open a [dwg|psd|vsdx|mpp|indd|zip|odt|step] file, no program for it
    I have no program to open [this attachment|drawings|these files|the archive|the video]
    I have no rights to install [software|anything|programs|the {addon}]
    I am not allowed to install {app}
    I am not allowed to download the {program}
    I downloaded {app} but can't run the installer
    I bought {app} and it has to be installed
    I got a CD with {program} and don't know how to install it
    I got a new {device} and all my programs are missing
    I lost the product key for {app}
    I want to try {app}
    I want to upgrade from {app} to {app}
    I want to replace {app} with {app}
    I only have the free version of {app}
    I still have the old {app}
    I still work with {app} {version}
    I have the German version of {app} but need the English one
    I have the 32-bit version and need 64-bit of {app}
    {person} needs {app}
    {person} needs {app} on the {device}
    {person} needs a license for {app}
    {person} needs a {tool_kind} for {work}
    {person} starts [on Monday|tomorrow|next week] and needs {app}
    {person} cannot open my files without {app}
    {person} has {app} {version} and I only have the old version
    {person} wants {app} too
    {person} sent me a file that needs {app}
    the customer requires {app} {version}
    the project needs {app}
    the course needs {app} in {room}
    the students in {room} need {app}
    my {app} is in the wrong language
    my {app} is an old version
    my {app} license [ran out|is not valid|expires next week|was taken away]
    my office package is not activated
    my copy of {app} is not registered
    my browser is too old for {system}
    my antivirus is out of date and won't update
    my {device} still runs Windows 10 and needs the upgrade
    my operating system needs an upgrade
    the Windows update [fails|hangs|is stuck at 30 percent|keeps rolling back|never finishes|gives error {error_code}]
    Windows update error {error_code}
    there is a new version of {app}
    there is a patch for {app} we need
    a security patch for {app} is missing on my {device}
    a popup says update available for {app}
    a message says this {program} is not licensed
    a message says you need permission to install
    it says contact your administrator to install this {program}
    uninstalling {app} fails
    the old version of {app} must be removed before the new one
    {app} got uninstalled during the rollout
    the rollout of {app} skipped [my {device}|{department}|our branch in {city}]
    the rollout of {app} did not reach me
    {app} was packaged wrong, the {addon} is missing
    there are two versions of {app} on my {device} and one has to go
    the {program} from the supplier has to be installed on our PCs
    the free trial ran out and now {app} wants money
    license popup in {app} {often}
    software request: {app}
    software order {app} for {department}
    new software for {person}
    new program wanted for {work}
    update for {app} please
    plugin for {app} needed
    missing driver [for my {printer}|for the {part}|]
    no license for {app}
    no {app} on new laptop
    install {app} {version} on {device}
    pls install {app}
    I am wanting to install {app}, it not allows
    me need {app} for work
    the program {app} I have not
    it lets me not install the {program}
    {app} is licensed on my old {device} and must move to the new one
    {approval}, so I need {app}
    I would love to have {app} like {person}
    everybody in {department} has {app} except me
    without {app} I can't edit {work}
    I can only open {work} with {app}
    I need [Java|Python|.NET|a compiler|a runtime] for {app}
    our team wants to switch to {app}
    our macro needs the {addon}
    mail merge needs the {addon} in {app}
    the font for our new logo is not installed
    the template needs {app} {version}
    the VPN client is fine, I just need {app} [installed|updated]
    the trial key you gave me for {app} is invalid
    app store says {app} is blocked by the company
    my phone needs the {app} app
    there is no app for {system} on my {device}
    setup.exe does nothing when I double click
    the msi package of {app} ends with error {error_code}
    the wizard of {app} stops at the last page
    the progress bar of {app} is frozen at 99 percent
    the download of {app} breaks off
    the archive with {app} won't unpack
    the checksum of the {app} installer is wrong
    user account control asks for an admin when I set up {app}
    SmartScreen blocks the setup of {app}
    {app} demands dongle registration and a key
    {app} demands a newer runtime
    {app} nags me to buy the full version
    {app} nags me to update {often}
    {app} runs in demo mode
    {app} prints a trial watermark on {work}
    {app} counts down the days until the trial ends
    {app} is no longer supported and must be upgraded
    {app} reached end of life
    {app} and {app} need the same plugin
    {app} got an update and my plugins vanished
    {app} rolled back to an ancient version
    {app} is installed only for {person}
    {app} is not in the start menu, please install it
    {app} was lost when you set up my {device} anew
    {app} subscription is up for renewal
    {app} seat for {person} wanted
    {app} maintenance contract has run out
    the maintenance fee of {app} was paid, now I need the new version
    the activation server of {app} refuses my key
    the activation limit of {app} is reached
    the licence file of {app} is corrupt
    the floating licence of {app} is taken {often}
    the concurrent licences of {app} are used up
    the student edition of {app} is not allowed, I need the commercial one
    the beta of {app} expired
    the open source {tool_kind} I like is not approved yet
    the {addon} must be signed before I can install it
    the mac version of {app} is missing in the store
    the Linux package of {app} is missing
    my new hire kit lacks {app}
    my profile in the software shop shows no {app}
    my order of {app} is still pending in the software shop
    my order for {app} was approved but nothing arrived on my {device}
    my Excel lacks the [solver|pivot|analysis] add-in
    my spell checker lacks the [French|Polish|Spanish|Dutch|Italian] dictionary
    my keyboard language pack for [Greek|Arabic|Japanese] is not installed
    our auditors require {app}
    our school bought {app} for the pupils
    our plant needs the configuration {program} for the new machine
    the new scale came with {program} on a stick
    the new camera needs its {program}
    the new {printer} came without a driver on my {device}
    driver for the {printer} not found
    driver update fails with error {error_code}
    the BIOS update asks for a confirmation, may I run it
    firmware update for the dock available
    feature update keeps failing on my {device}
    patch day left {app} half updated
    after the migration {app} needs to be installed again
    pip install is blocked on my {device}
    npm install needs admin rights
    homebrew is not allowed on my Mac
    I compiled it myself but lack the rights to install it
    I cannot run executables from the internet
    I only need {app} for [a week|a single file|one day]
    bring back the old version of {app}
    downgrade of {app} needed
    want {app}
    missing software on my {device}
    unlicensed {app}
""")

REQUESTS["software_install"] = _lines("""
    please {install} {app} on my {device}
    please install {app}
    please install {app} {version}
    please install {app} on the {device} of {person}
    please install {app} on all PCs in {room}
    please install the {addon} for {app}
    please install the {addon} on my {device}
    please install the printer driver for the {printer}
    please install a {tool_kind} on my {device}
    please update {app}
    please update {app} to version {version}
    please upgrade {app} on my {device}
    please upgrade me to {app} {version}
    please activate {app}
    please activate my license of {app}
    please renew the license for {app}
    please order a license for {app}, {approval}
    please assign me a licence for {app}
    please extend the trial of {app}
    please uninstall {app} [from my {device}|and install {app}]
    please remove {app} and put {app} on it
    please reinstall {app}
    please roll out {app} to {department}
    please give me admin rights for the setup of {app}
    please approve the installation of {app}
    please add {app} to the software catalogue
    please send me the [installer|download link|license key|setup file] for {app}
    please allow {app} on my {device}
    can you {install} {app} [{deadline}|for {person}|on my {device}]
    can you install {app} {remotely}
    can you update {app} on my {device}
    can you buy {app} for {department}
    can you enter the license key for {app}
    can you move my {app} license to the new {device}
    can I have {app}
    can I get {app} on my {device}
    can I get a {tool_kind}
    can I install {app} [myself|at home|on my private laptop]
    can I download {app} from the internet
    can I test {app} for a month
    can we get {app} for {department}
    can {person} get {app}
    could you [please|kindly|] install {app} {deadline}
    could you put {app} on the {device} in {room}
    could I have the newest version of {app}
    how do I install {app}
    how do I install the {addon}
    how do I update {app}
    how do I activate {app}
    how do I get a license for {app}
    how do I order new {program}
    how can I get {app} [on my {device}|from the software center|]
    how much is a license of {app}
    how many licences of {app} do we have
    where can I download {app}
    where do I find the license key of {app}
    where do I enter the product key
    which version of {app} is allowed
    which {tool_kind} do we have
    which program opens [dwg|psd|mpp|odt|7z] files
    what {program} do you recommend for {work}
    why can't I install {app}
    why do I need admin rights for {app}
    why is {app} not in the software center
    why does {app} want a license
    is {app} available for my {device}
    is {app} free to use in the company
    is there a license left for {app}
    is there a newer version of {app}
    is there an approved {tool_kind}
    am I allowed to install {app}
    do we have {app}
    do we have a licence for {app}
    do I need a license for {app}
    does {app} run on my {device}
    when do we get {app} {version}
    when will {app} be [updated|rolled out|upgraded|available]
    who installs {app}
    who orders licences for {app}
    I would like to install {app}
    I would like {app} on my {device}
    I would like to order {app} for {person}
    I would like to update {app} {deadline}
    I want {app} on my {device}
    I request the installation of {app}
    may I install a {tool_kind}
    kindly install {app} in my {device}
    kindly provide a license for {app}
    please package {app} for the software center
    please push {app} to my {device}
    please push the update of {app} to all machines
    please purchase {app}
    please buy [two|five|ten] licences of {app}
    please cancel my license of {app} and order {app}
    please transfer the license of {app} from {person} to me
    please downgrade {app} to version {version}
    please patch {app}
    please whitelist {app}
    please enable the {addon} in {app}
    please equip my {device} with {app}
    please load {app} onto the {device} of {person}
    please make {app} available to {department}
    could you reinstall {app}
    could we try out {app}
    could you unlock the full version of {app}
    can you remove the trial and install the full {app}
    how many machines may I activate {app} on
    how do I extend the subscription of {app}
    how do I get rid of the old {app}
    what does {app} cost
    what is the product key of {app}
    is {app} compatible with my {device}
    is there a portable version of {app}
    who has the license key for {app}
""")

STATEMENTS["hardware_fault"] = _lines("""
    my {part} is {broken}
    my {part} is {broken} {when}
    the {part} is {broken}
    the {part} in {room} is {broken}
    the {part} of {person} is {broken}
    the {part} on my desk is {broken}
    my {part} [broke|died|gave up|stopped working|failed|quit] {point}
    the {part} in {room} [broke|died|gave up|stopped working|failed] {point}
    my {part} [does not work|doesn't work|won't work|no longer works|refuses to work]
    my {part} [does not react|does not respond|shows no reaction|does nothing]
    my {part} has [a crack|a dent|a defect|a short circuit|a loose contact|water damage|a loose connection]
    my {part} fell [down|on the floor|off the desk|down the stairs|out of my bag]
    I dropped my {part} [{point}|and it is {broken}|on the floor]
    {person} dropped the {part} and now it is {broken}
    {person} broke the {part}
    {person} has a {broken_adj} {part}
    {person} stepped on the {part}
    I think my {part} is {broken}
    I need a new {part} because mine is {broken}
    I need a new {part}, the old one is {broken}
    I broke my {part} by accident
    {part} {broken}
    {part} [kaputt|dead|defect|broken again|damaged] in {room}
    {part} {broken} {when}
    the {part} was delivered {broken}
    the replacement {part} is {broken} too
    the {part} makes [a strange|a grinding|a clicking|a buzzing|a whining|a rattling|a loud] noise
    the {part} [smells burnt|gets very hot|smokes|sparks|vibrates|buzzes]
    the {screen} [flickers|stays black|is black|is dark|goes black|goes dark|shows stripes|shows lines|has a crack|has dead pixels|is cracked|is all green|is pink|turns white|shows nothing]
    my {screen} [flickers|stays black|is dark|shows vertical lines|has a black spot|has a scratch|has a yellow tint|shows ghost images|is shattered|is dim|blinks]
    the {screen} [flickers|goes dark|turns off|shows snow] {often}
    the {screen} in {room} [stays black|flickers|has no picture|shows no signal|has a purple stripe]
    half of the {screen} is [black|dead|white|unreadable]
    dead pixels on my {screen}
    no picture on the {screen}
    the {screen} says no signal although the cable is in
    the touch on my {screen} does not react
    the backlight of my {screen} is out
    the colours on my {screen} are [wrong|inverted|washed out|all blue]
    black screen when I [turn on|boot|start] my {device}
    blue screen {often}
    I get a blue screen {often}
    my {device} shows a blue screen {when}
    my {device} crashes with a blue screen {often}
    my {device} [does not turn on|won't turn on|won't start|does not boot|is completely dead|does not power up|shows no sign of life]
    my {device} [turns off|shuts down|restarts|reboots|freezes] by itself {often}
    my {device} [overheats|gets very hot|is burning hot|smells of burnt plastic] {when}
    my {device} beeps [three times|strangely|loudly] and does not start
    my {device} does not charge [any more|at all|]
    my {device} only runs when plugged in
    my {device} says no boot device
    my {device} says hard disk failure
    my {device} clicks and whirrs and does not start
    my {device} got wet [in the rain|{point}|]
    my {device} fell [into the water|off the table|down the stairs] {point}
    my {device} was run over by a [car|forklift|chair]
    I spilled [coffee|tea|water|juice|soup|cola] on my {device}
    I spilled [coffee|tea|water|lemonade] over the keyboard
    {person} spilled [coffee|water|tea] on the {part}
    there is [coffee|water|juice] in my keyboard
    my battery [is swollen|is bloated|does not charge|drains in ten minutes|is empty after an hour|holds no charge|bulges|is dying|lasts only minutes]
    the battery of my {device} [is swollen|lasts only ten minutes|does not hold a charge|gets hot|is at zero percent|is dead]
    the battery pushes the touchpad up
    swollen battery in my {device}
    the charger [sparks|is cold|hums|has a loose wire|does not charge|lost its tip|gets too hot]
    the cable of my charger is [torn|frayed|chewed by the dog|broken]
    my power supply [hums|died|has no light|sparks]
    the power cable has a loose contact
    the charging port of my {device} is [loose|bent|broken|dirty]
    the plug is bent
    the fan [is loud|rattles|sounds like a jet|never stops|grinds|does not spin]
    my {device} sounds like a [helicopter|vacuum cleaner|plane|hair dryer]
    the hinge of my {device} is [broken|loose|torn off|cracked]
    the lid of my {device} [does not close|came off|is loose]
    the case of my {device} is [cracked|split|coming apart]
    a screw fell out of my {device}
    keys on my keyboard are [stuck|missing|dead|sticky|falling off]
    several keys do not [work|respond|react]
    the [letter E|letter A|space bar|enter key|shift key|backspace key] on my keyboard [sticks|is stuck|came off|does nothing|is missing]
    the keyboard types [double letters|nothing|wrong letters|by itself]
    some keys on my laptop are worn and don't press
    the mouse [double clicks|jumps|does not move|moves by itself|wheel is stuck|lags and has a broken cable]
    the mouse button is [stuck|broken|worn out]
    the cursor jumps because the touchpad is {broken}
    my trackpad does not click
    my headset [has no sound|crackles|only works on one side|has a broken mic|buzzes|lost its ear pad]
    the left ear of my headset is dead
    no sound from the speaker of my {device}
    the speaker crackles
    the microphone is [dead|broken|too quiet, a defect|crackling]
    the webcam [shows only black|is not recognised|is blurry|has a scratch|image is green|is dead]
    the camera of my {device} [shows black|is cracked|is dead|has a broken lens]
    the docking station [does not charge|does not recognise the monitor|is dead|loses the screens|has no power]
    my dock [cuts out|loses both monitors|does not power the laptop|is not detected]
    the USB port is [dead|loose|bent|worn out]
    none of the USB ports work
    my USB stick is [broken|not recognised|bent]
    the HDMI port [is bent|is loose|gives no picture|broke off]
    the adapter [broke off|is loose|gives no picture]
    the card reader does not read [my badge|cards|anything]
    the fingerprint reader does not recognise my finger, it is scratched
    the hard drive [clicks|is not recognised|makes noise|has bad sectors|crashed|died]
    the disk is [dying|failing|clicking|dead]
    the external drive fell and is not recognised
    the graphics card is {broken}
    the memory is faulty, my PC beeps
    the mainboard is {broken}
    the network port on my {device} is [bent|broken|dead]
    the network socket in {room} is [ripped out|broken|loose]
    the wifi card is {broken}, the technician says
    the wifi card in my {device} is dead and must be replaced
    the wifi antenna inside my {device} broke off
    the {printer} [jams|has a paper jam|eats paper|pulls no paper|crumples the paper|does not pull in paper] {when}
    the {printer} in {room} [jams|prints stripes|prints blank pages|is dead|squeaks|leaks toner|is out of order]
    the {printer} [prints stripes|prints blank pages|prints too pale|smears|leaks ink|leaves black lines|squeaks|rattles]
    the {printer} shows [error {error_code}|a red light|paper jam|open cover|drum error|fuser error]
    the {printer} is jammed
    the {printer} tray is [broken|stuck|bent]
    paper jam in the {printer} {often}
    paper is stuck in the {printer}
    the toner leaks
    the toner is [leaking|stuck|empty and the cover is broken]
    the drum of the {printer} is worn out
    the rollers of the {printer} are worn
    the cover of the {printer} is snapped off
    the scanner [glass is cracked|leaves a line on every page|makes noise|is dead|lamp is out]
    the barcode scanner [does not beep|does not read|fell down|is dead|laser is off]
    the projector in {room} [shows no picture|is too dark|has a broken lamp|hums|turns off|has a red light|image is yellow]
    the lamp of the projector is [burnt out|gone|dead]
    the beamer in {room} does not turn on
    the conference phone in {room} is dead
    the desk phone has [no dial tone|a dead display|a broken handset|a torn cord]
    the handset [crackles|has a torn cord|is silent|is broken]
    my phone screen is [cracked|shattered|smashed|black]
    my phone does not charge and the port wobbles
    my phone fell into [the toilet|a puddle|the sink|my coffee]
    the SIM tray is bent
    the power button of my {device} is [stuck|sunk in|loose|broken]
    the light on my {part} is [red|orange|off]
    the smart board pen is broken
    the till printer does not cut the receipts
    the receipt printer jams
    the badge printer ribbon is torn
    the UPS beeps and does not hold power
    the server in the rack beeps and has a red light, disk failed
    the monitor arm is broken
    the stand of my {screen} is [broken|loose|wobbly]
    the cable is [broken|torn|frayed|pinched|chewed]
    the cleaner pulled a cable and broke the plug
    my chair rolled over the cable and it is torn
    lightning struck and now the {part} is {broken}
    after the power cut my {part} is {broken}
    after the fall my {device} has a crack in the screen
    since the move the {part} is {broken}
    smoke came out of the {part}
    it smells burnt from my {device}
    strange noise from my {device}
    water damage on my {device}
    broken {part}
    defective {part} [in {room}|on my desk|, please replace]
    cracked screen on my {device}
    loud fan
    hardware defect on my {device}
    the technician must look at the {part}, it is {broken}
    warranty case: {part} {broken}
    my {part} is since {point} kaputt
    the {part} it is break
    the {part} not functions, is defect
    my {part} makes not anything
    my poor {part} is {broken}
    rest in peace, my {part} died {point}
    my {part} has kicked the bucket
    my {part} gave up the ghost
    this rubbish {part} is {broken} again
    the software is fine, the {part} itself is {broken}
    I tried another cable but the {part} is {broken}
    I tried the {part} on another computer and it is dead there too
    new battery did not help, the {part} is {broken}
    dust and a loud noise inside my {device}
    ants got into my {device}
    my dog chewed the [cable|charger|mouse|headset]
    bent pins on the [plug|connector|video cable]
    the foot of my keyboard snapped off
    the lock of my {device} bag damaged the {part}
    the {screen} has a rainbow pattern
    the {screen} has burn-in
    the {screen} peels off at the edge
    the {screen} has a spider web of cracks
    the {screen} wobbles and then dies
    the {screen} shows a blurry picture
    the {screen} shows coloured [dots|blotches|bars|squares]
    the {screen} turns blue and says it ran into a problem
    the {screen} goes blank {often}
    garbled picture on the {screen}
    ink blot spreading on my phone display
    my {device} [is stone dead|gives no beep|shows no light|only shows a charging symbol|turns on for a second]
    my {device} [hisses|crackles|squeals|whistles|hums|rattles|ticks] {often}
    my {device} bends in the middle
    my {device} burns my lap
    my {device} gave me an electric shock
    my {device} slipped out of my hands
    my {device} survived the fall but the corner is dented
    my {device} was left in the sun and is warped
    gravity won, the glass of my {device} is shattered
    my {device} needs a new battery, it dies after ten minutes
    my {device} case burst open because the battery swelled
    my battery puffed up like a balloon
    my battery health is at four percent
    my bag leaked and the {device} is wet
    my yoghurt exploded over the keyboard
    crumbs under the keys, half of them are dead
    honey on the keyboard, keys stick
    wine over the notebook, it does not start
    soup in the keyboard
    a vase tipped over onto my {device}
    a bird flew against the camera and cracked it
    a lightning surge fried the {part}
    a fuse blew and the {part} is {broken}
    a capacitor popped in the {part}
    a blown fuse in the {part}
    a wire sticks out of the {part}
    bare wire on my charger
    sparks from the power strip
    short circuit in the {part}
    loose contact in the {part}
    the plug of my {part} melted
    the socket for my charger is loose
    the magnetic plug fell apart
    the spring of the {part} popped out
    the rubber foot came off
    the scroll wheel spins without effect
    the left click is dead
    the right click only works when I press hard
    the caps lock key is jammed
    the arrow keys are gone
    the numeric block is dead
    the F5 key popped off
    the mouse pointer stands still, mouse light is off
    the optical sensor of the mouse is {broken}
    the batteries leaked inside the wireless mouse
    the headband of my headset snapped
    the mic arm of my headset fell off
    the volume knob scratches
    the loudspeaker buzzes like a bee
    the camera shutter is jammed
    the lens is scratched
    the {printer} chews up the paper
    the {printer} grinds and stops
    the {printer} shows call for service
    the {printer} squeaks like a pig
    the {printer} streaks every page
    the {printer} spits out empty sheets
    the {printer} smudges the ink
    the {printer} folds the corners
    the {printer} feeds two sheets at once
    the {printer} does not take envelopes any more, roller worn
    the stapler in the copier is jammed
    the document feeder pulls pages in crooked
    the print head is clogged
    the cutter of the label printer is blunt
    torn paper inside the {printer}
    the bulb of the projector exploded
    the projector in {room} smells and shows dots
    the remote control of the projector is broken
    the screen motor in {room} is stuck
    the ceiling speaker in {room} crackles
    the intercom in {room} is mute
    the card terminal swallows cards
    the money drawer does not pop open
    the time clock in {room} has a dead display
    the hand scanner battery does not hold
    the RAID has lost a disk
    the NAS beeps and blinks red
    the tape drive ate a tape
    the rack fan is loud
    the switch in the cabinet has no lights
    the network jack clip is snapped
    the network card has no light and was declared dead
    the bluetooth chip is {broken}
    the wifi module is burnt out, says the diagnostics
    the wifi adapter snapped off
    the cooling is {broken}, my {device} shuts off
    the chassis is bent
    the touch pen has a broken tip
    the glass of my tablet is splintered
    diagnostics says {part} failed
    SMART warning, disk about to fail
    disk read error at boot
    no display at start, only beeps
    memory test shows errors
    {part} bust
    {part} gone to heaven
    {part} went bang
    physical damage on my {device}
""")

REQUESTS["hardware_fault"] = _lines("""
    please replace my {part}, it is {broken}
    please replace the {part} in {room}
    please replace my {broken_adj} {part}
    please replace the battery of my {device}
    please replace the lamp of the projector in {room}
    please repair my {part}
    please repair the {part} in {room}
    please repair the broken {part}
    please send a technician for the {part}
    please send me a spare {part}
    please send a new {part}, mine is {broken}
    please exchange my {broken_adj} {part}
    please swap the {broken_adj} {part}
    please swap my {part}
    please fix the {printer}
    please fix the {printer} in {room}
    please fix the hinge of my {device}
    please clear the paper jam in the {printer}
    please bring a new {part} to {room}
    please bring a spare {part} {deadline}
    please collect the broken {part}
    please take away the {broken_adj} {part}
    please look at my {part}, it is {broken}
    please check the {part}, it [smells burnt|makes noise|gets hot|sparks]
    please order a replacement for my {broken_adj} {part}
    please dispose of the swollen battery
    please save the data from my {broken} hard drive
    can you repair my {part}
    can you fix the {part} {deadline}
    can you replace the {part} {deadline}
    can you replace the cracked screen of my {device}
    can you lend me a {device} while mine is repaired
    can you bring me a replacement {part}
    can you have a look at the {part} in {room}, it is {broken}
    can you clean the keyboard, there is coffee in it
    can you rescue files from a dead hard disk
    can someone fix the {printer} in {room}
    can someone look at the {broken_adj} {part}
    can I get a new {part}
    can I get a replacement for my {broken_adj} {part}
    can I swap my {part}
    can I have another {part}, this one is {broken}
    could you come and look at my {part}, it is {broken}
    could you replace my {part} {deadline}
    could I borrow a {device}, mine is {broken}
    where can I get a spare {part}
    where can I [return|drop off|hand in|swap] a {broken_adj} {part}
    where do I bring my {broken} {device}
    where do I get a new battery for my {device}
    who repairs the {part}
    who fixes the {printer}
    who pays for a broken {part}
    how do I get a replacement for my {part}
    how do I report a broken {part}
    how do I remove stuck paper from the {printer}
    how long does the repair of my {device} take
    how long is the warranty on my {part}
    why does my {device} turn off by itself
    why does my {screen} flicker
    why is my fan so loud
    why does the {printer} jam {often}
    what do I do with a swollen battery
    what do I do with my broken {part}
    is my {part} still under warranty
    is it dangerous when a battery is swollen
    is there a spare {part}
    is there a loan {device} while mine is in repair
    do you have a spare {part}
    do you have a replacement {part} in stock
    does the warranty cover a cracked screen
    I need a replacement for the {part}
    I need a new {part}
    I need a spare {part} {deadline}
    I need a technician for the {part} in {room}
    I need a new battery for my {device}, the old one is dead
    I would like to exchange my {broken_adj} {part}
    I would like to hand in a broken {device}
    I request the repair of my {part}
    kindly repair the {part}
    kindly change the battery of my {device}
    when will my {part} be repaired
    when do I get my {device} back from repair
    may I have a new {part}, mine is {broken}
    please mend the {part}
    please glue the hinge of my {device}
    please change the toner, it leaks
    please inspect the {part}, there was smoke
    please arrange a repair for my {device}
    please claim the warranty for my {part}
    please lend me a {device} until mine is fixed
    please scrap the {broken_adj} {part} and send another
    can the crack in my display be repaired
    can my wet {device} be saved
    can you solder the {part}
    can you pull the jammed paper out of the {printer}
    is my {device} beyond repair
    is a new {part} cheaper than the repair
    is it normal that the {part} gets so hot
    what does the red light on the {part} mean
    what do the three beeps of my {device} mean
    how do I open the {printer} to remove the jam
    how much is a new {part}
    who collects broken screens
    which form is for a damaged {device}
    shall I throw away the {broken_adj} {part}
""")

# ---------------------------------------------------------------------------------------------
# Expanding a template
# ---------------------------------------------------------------------------------------------

_MARK = re.compile(r"\{(\w+)\}|\[([^\]]*)\]")
# A template, parsed: text pieces and lists of alternatives, in turn
_Parsed = list["str | list[str]"]
_parsed_templates: dict[str, _Parsed] = {}

_ARTICLE = re.compile(r"\b([Aa]n?) (?=([A-Za-z0-9][\w-]*))")
_DOUBLE_ARTICLE = re.compile(r"\b([Tt]he|[Mm]y|[Oo]ur|[Aa]n?|[Yy]our) (?:the|my|our|an?) ")
_SPACES = re.compile(r" {2,}| +(?=[,.!?])")
_VOWEL_SOUND = ("hour", "honest", "heir", "hr", "hdmi", "ssd", "sso", "sql", "led", "lcd", "rfid", "nfc", "ftp",
                "xml", "sms", "html", "8", "11", "18")
_CONSONANT_SOUND = ("user", "usb", "uni", "use", "euro", "one", "once", "ups", "url", "utility")


def _parse(template: str) -> _Parsed:
    pieces: _Parsed = []
    position = 0
    for mark in _MARK.finditer(template):
        if mark.start() > position:
            pieces.append(template[position:mark.start()])
        slot_name, choices = mark.groups()
        # the list itself, so that slots may be added to SLOTS later on
        pieces.append(SLOTS[slot_name] if slot_name else choices.split("|"))
        position = mark.end()
    if position < len(template):
        pieces.append(template[position:])
    return pieces


def _expand(template: str, rng: random.Random) -> str:
    pieces = _parsed_templates.get(template)
    if pieces is None:
        pieces = _parsed_templates[template] = _parse(template)
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        filler = piece[int(rng.random() * len(piece))]
        text += _expand(filler, rng) if "{" in filler or "[" in filler else filler
    return text


def _right_article(match: re.Match[str]) -> str:
    article, word = match.group(1), match.group(2).lower()
    if article == "A" and match.start() > 0:  # a letter, as in "the letter A sticks"
        return match.group(0)
    vowel = word.startswith(_VOWEL_SOUND) or (word[0] in "aeiou" and not word.startswith(_CONSONANT_SOUND))
    return article[0] + ("n " if vowel else " ")


def fill(template: str, rng: random.Random) -> str:
    """Expand every {slot} and every [a|b] of the template; set "a"/"an", doubled articles and spaces right."""
    text = _expand(template, rng)
    text = _DOUBLE_ARTICLE.sub(r"\1 ", text)
    text = _ARTICLE.sub(_right_article, text)
    return _SPACES.sub(lambda match: "" if match.end() < len(text) and text[match.end()] in ",.!?" else " ", text).strip()


# ---------------------------------------------------------------------------------------------
# Noise
# ---------------------------------------------------------------------------------------------

_NEAR_KEYS = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk",
    "k": "jl", "l": "ko", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "w", "r": "et", "s": "ad", "t": "ry",
    "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x",
}
_ODD_WORDS = _bars("""
    just / really / maybe / actually / somehow / like / so / well / please / now / here / basically / sort of / um / hmm /
    literally / still / also / again / lol / pls / totally / kind of / btw / honestly / probably / simply / sadly""")
_SHORT_FORMS = {
    "please": "pls", "you": "u", "are": "r", "thanks": "thx", "because": "bc", "tomorrow": "tmrw", "cannot": "cant",
    "can't": "cant", "don't": "dont", "doesn't": "doesnt", "won't": "wont", "password": "pw", "I": "i",
    "something": "smth", "today": "2day", "without": "w/o", "with": "w", "and": "&", "message": "msg",
    "computer": "comp", "meeting": "mtg", "monday": "mon", "number": "nr", "minutes": "min", "it's": "its",
}


def _typo(word: str, rng: random.Random) -> str:
    """One slip of the finger inside the word (never the first letter)."""
    if len(word) < 4 or not word.isalpha():
        return word
    spot = rng.randrange(1, len(word) - 1)
    kind = rng.random()
    if kind < 0.35:  # two letters swapped
        return word[:spot] + word[spot + 1] + word[spot] + word[spot + 2:]
    if kind < 0.65:  # a letter left out
        return word[:spot] + word[spot + 1:]
    if kind < 0.82:  # a letter doubled
        return word[:spot] + word[spot] + word[spot:]
    near = _NEAR_KEYS.get(word[spot].lower())
    return word[:spot] + rng.choice(near) + word[spot + 1:] if near else word


_OPTIONAL_WORDS = {"the", "a", "an", "my", "is", "to", "of", "for", "I", "it", "has", "are", "do", "have"}


def add_noise(text: str, rng: random.Random, noise: float) -> str:
    """Light slips in a minority of texts; noise 1.0 touches about four in ten, 0.0 none."""
    if noise <= 0 or rng.random() > 0.4 * noise:
        return text
    words = text.split(" ")
    all_capitals = text.isupper()
    kind = rng.random()
    if kind < 0.45:
        for _ in range(1 if rng.random() < 0.75 else 2):
            spot = rng.randrange(len(words))
            words[spot] = _typo(words[spot], rng)
    elif kind < 0.65:
        droppable = [index for index, word in enumerate(words) if word in _OPTIONAL_WORDS]
        if droppable:
            keep_out = droppable if rng.random() < 0.25 else [rng.choice(droppable)]
            words = [word for index, word in enumerate(words) if index not in keep_out]
    elif kind < 0.8:
        words.insert(rng.randrange(len(words) + 1), rng.choice(_ODD_WORDS))
    else:
        words = words if all_capitals else [_SHORT_FORMS.get(word, word) for word in words]
    return " ".join(words)


# ---------------------------------------------------------------------------------------------
# Whole tickets
# ---------------------------------------------------------------------------------------------

MAX_WORDS = 30
_QUESTION = re.compile(
    r"(?:how|what|what's|where|when will|when do|when does|which|who|why|can|could|would|is|are|am|do|does|may|has|must)\b",
    re.IGNORECASE)


def _end_mark(clause: str, rng: random.Random) -> str:
    if clause[-1] in "?!.(:":
        return ""
    kind = rng.random()
    if _QUESTION.match(clause):
        return "?" if kind < 0.85 else "" if kind < 0.95 else "??"
    return "." if kind < 0.86 else "!" if kind < 0.95 else "..." if kind < 0.98 else "!!"


def _core(label: str, rng: random.Random) -> list[str]:
    """One or two clauses of the class, without context."""
    statement = fill(rng.choice(STATEMENTS[label]), rng)
    kind = rng.random()
    if kind < 0.52:
        return [statement]
    request = fill(rng.choice(REQUESTS[label]), rng)
    if kind < 0.80:
        return [request]
    if kind < 0.90:
        return [statement, request]
    if kind < 0.93:
        return [f"{statement}, {request}"]
    second = fill(rng.choice(STATEMENTS[label]), rng)
    return [f"{statement} {rng.choice(('and', 'and', 'also,', ', and'))} {second}".replace(" ,", ",")]


def _join(clauses: list[str], rng: random.Random) -> str:
    """Clauses to sentences: capitals and full stops as careful as this writer is."""
    style = rng.random()
    capitals = style < 0.72
    text = ""
    for index, clause in enumerate(clauses):
        if capitals and clause[0].islower():
            clause = clause[0].upper() + clause[1:]
        last = index == len(clauses) - 1
        if last and rng.random() < (0.3 if capitals else 0.6):
            text += clause
        elif not capitals and not last and rng.random() < 0.4:
            text += clause + ", "
        else:
            text += clause + (_end_mark(clause, rng) or "") + " "
    text = text.strip()
    if style > 0.985:
        return text.upper()
    if style > 0.87:
        return text.lower()
    return text


def ticket(label: str, rng: random.Random, noise: float = 1.0) -> str:
    """One ticket of the class `label`, at most about 30 words."""
    clauses = _core(label, rng)
    length = sum(clause.count(" ") + 1 for clause in clauses)
    alone = len(clauses) == 1

    if alone and rng.random() < 0.13 and not _QUESTION.match(clauses[0]) and not clauses[0].startswith(("please", "kindly")):
        lead_in = fill(rng.choice(LEAD_INS), rng)
        clauses[0] = f"{lead_in} {clauses[0]}"
        length += lead_in.count(" ") + 1
    if rng.random() < 0.14 and length < MAX_WORDS - 8 and clauses[-1][-1] not in "?!":
        ending = fill(rng.choice(ENDINGS), rng)
        clauses[-1] += ending if ending[0] == "," else " " + ending
        length += ending.count(" ") + 1
    # neutral context before and after
    for place in (0, 1):
        if rng.random() < (0.16, 0.26)[place]:
            context = fill(rng.choice(CONTEXTS), rng)
            words = context.count(" ") + 1
            if length + words < MAX_WORDS:
                clauses.insert(0 if place == 0 else len(clauses), context)
                length += words
    text = _join(clauses, rng)
    if rng.random() < 0.13 and length < MAX_WORDS - 3:
        greeting = fill(rng.choice(GREETINGS), rng)
        if text[0].isupper() and rng.random() < 0.8:
            greeting = greeting[0].upper() + greeting[1:]
        text = f"{greeting}{rng.choice((',', ',', '!', ':', '', '.'))} {text}"
    return add_noise(text, rng, noise)


def main() -> None:
    """Show ten tickets of each class, then count templates, words and speed."""
    rng = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    for label in CLASSES:
        print(f"\n{label}: {len(STATEMENTS[label])} statements, {len(REQUESTS[label])} requests")
        for _ in range(10):
            print("   ", ticket(label, rng))
    labels = list(CLASSES)
    for noise in (0.0, 1.0):
        start = time.perf_counter()
        texts = [ticket(labels[index % 6], rng, noise) for index in range(20_000)]
        seconds = time.perf_counter() - start
        words = {word for text in texts for word in re.findall(r"[a-z0-9][a-z0-9'.+-]*[a-z0-9+]|[a-z0-9]", text.lower())}
        lengths = sorted(len(text.split()) for text in texts)
        print(f"\nnoise {noise}: {len(words)} distinct words, {len(set(texts))} distinct of 20000 tickets, "
              f"words per ticket median {lengths[10_000]} max {lengths[-1]}, {20_000 / seconds:.0f} tickets/s")
    print(f"{len(CONTEXTS)} contexts, {len(LEAD_INS)} lead-ins, {len(ENDINGS)} endings, {len(GREETINGS)} greetings, "
          f"{len(SLOTS)} slots with {sum(map(len, SLOTS.values()))} fillers")


if __name__ == "__main__":
    main()
