"""What tests share: servers, fakes, clients, and how they are started. Imports no tests."""
