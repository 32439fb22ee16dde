"""A local AWS endpoint whose load balancers carry traffic and whose target health is true (see README.md)."""
