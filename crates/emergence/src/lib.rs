//! emergence
