//! Starting a program with exactly the descriptors it is to have, by vfork semantics.
