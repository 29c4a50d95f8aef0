"""Where things stand in a stage, and the constants of the physics that it states."""

WORLD = '/World'
HALL = '/World/hall'
RACKS = '/World/racks'
PEOPLE = '/World/people'
ROBOT = '/World/robot'
BASE = '/World/robot/base_link'
CHASSIS = '/World/robot/base_link/chassis'
SCENE = '/World/physics'
MATERIALS = '/World/materials'
GROUPS = '/World/groups'
SPAWNED = '/World/spawned'

STEP_NS = 5_000_000     # of every engine
TRACTION = 0.6          # rubber on dry concrete, low
GRAVITY = 9.81

# Attributes of our own stand in this name space. UsdPhysics keeps masses and joint frames in
# single precision: the double from which such a number was rounded stands beside it.
OWN = 'spinal'
