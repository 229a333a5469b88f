"""The container image: built by Docker, pushed to the account's registry by `./build-and-push.sh`."""

# What build-and-push.sh leaves at the checkout's root.
URI_FILE = "ecr_image_fullname.txt"
SBOM_FILE = "ecr_image_sbom.cdx.json"
