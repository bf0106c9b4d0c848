"""`python -m slm.cli`, the same as `slm`."""

from slm.cli.app import main

main()
