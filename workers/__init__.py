"""The processes that run jobs: a pre-forking pool of RQ workers, one job per process at a time.

Belongs here: the pool (parent: forks, deadlines, whole-tree kill, recovery), the worker (child: dequeue, start fence,
execute, record), the executors and the kit they are built from (`sdk`). Imports `easyalert` and `vault`, nothing else
of ours. Never comes in: talking to the control plane.
"""
