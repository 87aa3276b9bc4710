//! Wrong answers and wrong requests are told by the right rule.
