// Istio's definitions of its own kinds; no program of it runs.
module serin.test/cluster/istio

go 1.26.0

require istio.io/api v1.31.1
