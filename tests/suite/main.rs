//! Everything that runs without a cluster: the core by itself, the parts, and the controller on the embedded cluster.

mod api;
mod apiserver;
mod architecture;
mod chart;
mod cli;
mod controller;
mod core;
mod dashboards;
mod embedded;
mod guard;
mod hook_credentials;
mod hooks;
mod jobs;
mod leader;
mod metrics;
mod notify;
mod routing;
mod telemetry;
mod tell;
mod workload;
mod world;
