"""The paths that a cloud's processes offer each other and those who look after them."""

PRIVATE_PREFIX = "/_facetrain/"  # behind the bridge token
AUTHENTICATE_PATH = f"{PRIVATE_PREFIX}authenticate"
AUTHORIZE_PATH = f"{PRIVATE_PREFIX}authorize"
EVENTS_PATH = f"{PRIVATE_PREFIX}events"
SAVE_PATH = f"{PRIVATE_PREFIX}save"
MINISTACK_HEALTH_PATH = "/_ministack/health"
SAGEMAKER_HEALTH_PATH = "/_facetrain/health"  # of the endpoint, open to anyone on this machine
# MiniStack's own paths that need no signature: liveness, and the answers of custom resources, whose
# addresses hold a random token. The rest of /_ministack/ (reset, configuration, code download) stays shut.
OPEN_PATHS = (
    MINISTACK_HEALTH_PATH,
    "/_ministack/ready",
    "/_ministack/cfn-response/",
    "/_ministack/cfn-signal/",
)
