"""The delivery protocol as a model small enough to be checked exhaustively: one job, one control plane, two agents.

`rules` is the protocol as it is, and every wrong variant of it; `control_plane` and `agent` say what each party does in
one step and what may go wrong there; `protocol` puts them on one network; `promises` is what must hold; `checker` visits
every state that so many faults can reach. Each step stands for code, named where the step is; who changes that code
changes it here too.

Messages may wait as long as they like: delay is no fault, and agents that are down, paused or cut off simply take no
step for a while. An agent asks one thing once at a time and hears the answer to that only; a request it has given up may
still arrive later, as a stray, and nobody hears what is answered. A killed control plane loses what was on its way and
nothing else; a killed agent loses its workers and what was on its way to it. A lazy transaction does not wait for the
disk: a power cut may undo it and every lazy one after it, never once a durable one has followed.
"""
