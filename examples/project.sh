#!/bin/sh
# Make demos/NAME: a clone of the last commit whose params.yaml is examples/NAME.yaml. One that is there stays as it is.
set -eu
cd "$(dirname "$0")/.."
project="demos/$1"
[ -d "$project" ] && exit 0
git clone --quiet . "$project.new"
cp "examples/$1.yaml" "$project.new/params.yaml"
cd "$project.new"
rm -f dvc.lock latency_table.json
secateur plan --json > /dev/null  # renders dvc.yaml for these parameters
git add -A
git -c user.name=secateur -c user.email=secateur@localhost commit --quiet --message "Parameters of the example $1"
cd ../..
mv "$project.new" "$project"
