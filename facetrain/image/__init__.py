"""The container image: built by Docker, pushed to the account's registry by `./build-and-push.sh`."""
