//! Descriptors: close_range(2), and passing them over unix sockets (SCM_RIGHTS).
