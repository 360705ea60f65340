"""How the product gets onto a machine: the quick start now, installer and unit later.

Belongs here: whatever starts, installs or stops the programs of this repository from outside. It knows them by their
commands, their environment and their HTTP interface only, so that it works like any other customer of theirs; it
imports nothing but `easyalert`. Not part of the installed package.
"""
