"""`python -m morph_assets.cli` is `morph`."""

from morph_assets.cli import main

main()
