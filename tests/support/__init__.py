"""What tests of several rooms share: fake servers on real sockets, real servers of our own, processes, temporary homes."""
