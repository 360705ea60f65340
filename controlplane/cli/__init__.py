"""The command `easyalert-controlplane`: serve, and what must be possible before anybody has a token.

Commands translate arguments and errors; the rules are in `services`. No traceback reaches the person at the terminal.
"""
