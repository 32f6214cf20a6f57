"""`python -m mmkd`, which launchers need: `accelerate launch -m mmkd run FILE`."""

from mmkd.cli import main

main()
