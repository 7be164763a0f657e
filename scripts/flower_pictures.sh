#!/bin/sh
# Take docs/pictures/flower.png and flower-tasks.png from a running stack (`make up`), after a use of every kind of task.
# Needs chromium. What it asks and answers stays in that stack's log: run it on a fresh one.
set -eu
cd "$(dirname "$0")/.."
weir=.venv/bin/weir
address() { # Flower's, with user and password
    "$weir" status --json | .venv/bin/python -c '
import json, sys, urllib.parse
flower = json.load(sys.stdin)["flower"]
user, password = (urllib.parse.quote(flower[name], safe="") for name in ("user", "password"))
print(flower["url"].replace("http://", f"http://{user}:{password}@"))'
}
newest() { # how many kinds of task there are among the newest $1
    curl -s "$url/api/tasks?limit=$1&sort_by=-received" | .venv/bin/python -c '
import json, sys
print(len({task["name"] for task in json.load(sys.stdin).values()}))'
}
ask() { # an unknown program that waits for a person; then the person's answer
    env -u WEIR_AGENT "$weir" validate --agent demo --wait 30 -- "deploy-preview --step $1" > /dev/null &
    ticket=""
    while [ -z "$ticket" ]; do
        ticket=$("$weir" approvals | sed -n 's/^\([0-9a-f]*-[0-9a-f]*\)  demo.*/\1/p' | head -n 1)
    done
    "$weir" approvals approve "$ticket" --reason "looked at it"
}
shoot() { # page, size, picture
    chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --window-size="$2" --virtual-time-budget=10000 \
        --screenshot="docs/pictures/$3" "$url/$1" 2> /dev/null
}
url=$(address)
for round in 1 2 3 4 5 6 7 8; do # beats come when they come: until the page's fifteen rows show all eleven kinds
    "$weir" import docs --into "picture$round" > /dev/null &
    head -c 2000000 /dev/urandom > "${WEIR_MOUNT:-mnt}/current/picture.bin"
    ask "$round"
    wait
    [ "$(newest 15)" -lt 11 ] || break
done
shoot tasks 1700,1080 flower-tasks.png
shoot workers 1400,800 flower.png
