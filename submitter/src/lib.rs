//! Takes sealed batches through a provider's Batch API and delivers every result.

pub mod openai;
