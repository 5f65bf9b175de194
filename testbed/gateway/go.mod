module forebay.dev/testbed/gateway

go 1.26.0

// What Traefik 3.7 is built with; only its CRDs are used.
require sigs.k8s.io/gateway-api v1.6.1
