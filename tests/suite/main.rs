//! Tests of parts that work together, on the embedded API server where they need one.
mod apiserver;
mod jobs;
mod leader;
mod metrics;
mod tell;
