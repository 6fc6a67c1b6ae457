//! A machine of its own for each test.
