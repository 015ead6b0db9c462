// Argo CD's health script for Canaries; no program of it runs.
module serin.test/cluster/argo

go 1.26.0

require github.com/argoproj/argo-cd/v3 v3.4.13
