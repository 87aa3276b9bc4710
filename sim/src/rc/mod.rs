//! Models of the two ends of a reliable connection.
