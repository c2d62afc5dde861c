//! Whole clients against fake masters on loopback that die, freeze, refuse and lie.

mod calls;
mod gateway;
mod joining;
mod mirroring;
mod watching;
