//! Control groups, v2 and v1 behind one type.

pub mod limits;
