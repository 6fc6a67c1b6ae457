//! Terminals: ptys, window sizes, controlling terminals.
