#!/bin/sh
# Take docs/pictures/flower.png and flower-tasks.png from a running stack (`make up`), after a use of every kind of task.
# Needs chromium. What it asks and answers stays in that stack's log: run it on a fresh one.
set -eu
cd "$(dirname "$0")/.."
weir=.venv/bin/weir
ask() { # an unknown program that waits for a person; then the person's answer
    env -u WEIR_AGENT "$weir" validate --agent demo --wait 30 -- "deploy-preview --step $2" > /dev/null &
    ticket=""
    while [ -z "$ticket" ]; do
        ticket=$("$weir" approvals | sed -n 's/^\([0-9a-f]*-[0-9a-f]*\)  demo.*/\1/p' | head -n 1)
    done
    "$weir" approvals "$1" "$ticket" --reason "looked at it"
    wait || true
}
sleep "${1:-35}" # every beat once: the rarest is weir.maintain, every 30 s
"$weir" import docs --into picture > /dev/null
head -c 2000000 /dev/urandom > "${WEIR_MOUNT:-mnt}/current/picture.bin"
"$weir" validate --agent demo -- rm -rf / > /dev/null || true
ask approve 1
ask deny 2
"$weir" status --json | .venv/bin/python -c '
import json, sys, urllib.parse
flower = json.load(sys.stdin)["flower"]
user, password = (urllib.parse.quote(flower[name], safe="") for name in ("user", "password"))
print(flower["url"].replace("http://", f"http://{user}:{password}@"))' > "${TMPDIR:-/tmp}/flower-url.$$"
url=$(cat "${TMPDIR:-/tmp}/flower-url.$$"); rm -f "${TMPDIR:-/tmp}/flower-url.$$"
shoot() { # page, size, picture
    chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --window-size="$2" --virtual-time-budget=10000 \
        --screenshot="docs/pictures/$3" "$url/$1" 2> /dev/null
}
shoot tasks 1700,1050 flower-tasks.png # first: it shows the newest fifteen
shoot workers 1400,900 flower.png
