/* The second floor of the reflex bench: the bare echo in C over rcl.
 *
 *     echo_peer --ros-args -r __ns:=/c
 *
 * What a compiled node with the same middleware, priority, QoS and serialised messages needs: it
 * waits on an rcl wait set, takes each scan as bytes and publishes a TwistStamped with its stamp.
 * Ends on SIGINT and SIGTERM.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rcl/error_handling.h>
#include <rcl/rcl.h>
#include <rmw/qos_profiles.h>

#define PRIORITY 80
#define STAMP_AT 4 /* behind the CDR header: int32 seconds, uint32 nanoseconds */
#define STAMP_BYTES 8

/* Declared here, so that no header of a message package is needed. */
const rosidl_message_type_support_t *
rosidl_typesupport_c__get_message_type_support_handle__sensor_msgs__msg__LaserScan(void);
const rosidl_message_type_support_t *
rosidl_typesupport_c__get_message_type_support_handle__geometry_msgs__msg__TwistStamped(void);

static volatile sig_atomic_t ending = 0;

static void end(int signal_number) {
  (void)signal_number;
  ending = 1;
}

static void must(rcl_ret_t result, const char *what) {
  if (result != RCL_RET_OK) {
    fprintf(stderr, "echo_peer: %s failed: %s\n", what, rcl_get_error_string().str);
    exit(1);
  }
}

/* header{stamp, frame_id 'base_link'}, twist{linear, angular}: all zero but the stamp. */
static size_t zero_twist(uint8_t *bytes) {
  static const char frame[] = "base_link";
  const uint32_t length = sizeof frame;
  memset(bytes, 0, 96);
  bytes[1] = 1; /* little endian */
  memcpy(bytes + 12, &length, sizeof length);
  memcpy(bytes + 16, frame, sizeof frame);
  /* 22 bytes of header behind the encapsulation, aligned to 24, then six doubles. */
  return 4 + 24 + 48;
}

int main(int argc, char **argv) {
  struct sched_param parameters = {.sched_priority = PRIORITY};
  if (sched_setscheduler(0, SCHED_FIFO, &parameters) != 0) perror("echo_peer: no SCHED_FIFO");
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) perror("echo_peer: memory not locked");
  struct sigaction action = {.sa_handler = end};
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);

  rcl_allocator_t allocator = rcl_get_default_allocator();
  rcl_init_options_t init_options = rcl_get_zero_initialized_init_options();
  must(rcl_init_options_init(&init_options, allocator), "init options");
  rcl_context_t context = rcl_get_zero_initialized_context();
  must(rcl_init(argc, (const char *const *)argv, &init_options, &context), "rcl_init");

  rcl_node_t node = rcl_get_zero_initialized_node();
  rcl_node_options_t node_options = rcl_node_get_default_options();
  must(rcl_node_init(&node, "echo", "", &context, &node_options), "node");

  rcl_publisher_options_t publisher_options = rcl_publisher_get_default_options();
  publisher_options.qos.depth = 1;
  rcl_publisher_t publisher = rcl_get_zero_initialized_publisher();
  must(rcl_publisher_init(
           &publisher, &node,
           rosidl_typesupport_c__get_message_type_support_handle__geometry_msgs__msg__TwistStamped(),
           "cmd_vel", &publisher_options),
       "publisher");

  rcl_subscription_options_t subscription_options = rcl_subscription_get_default_options();
  subscription_options.qos.depth = 1;
  subscription_options.qos.reliability = RMW_QOS_POLICY_RELIABILITY_BEST_EFFORT;
  rcl_subscription_t subscription = rcl_get_zero_initialized_subscription();
  must(rcl_subscription_init(
           &subscription, &node,
           rosidl_typesupport_c__get_message_type_support_handle__sensor_msgs__msg__LaserScan(),
           "scan", &subscription_options),
       "subscription");

  rcl_wait_set_t set = rcl_get_zero_initialized_wait_set();
  must(rcl_wait_set_init(&set, 1, 0, 0, 0, 0, 0, &context, allocator), "wait set");

  rcl_serialized_message_t scan = rmw_get_zero_initialized_serialized_message();
  must(rmw_serialized_message_init(&scan, 65536, &allocator), "buffer");
  rcl_serialized_message_t twist = rmw_get_zero_initialized_serialized_message();
  must(rmw_serialized_message_init(&twist, 128, &allocator), "buffer");
  twist.buffer_length = zero_twist(twist.buffer);

  while (!ending) {
    must(rcl_wait_set_clear(&set), "clear");
    must(rcl_wait_set_add_subscription(&set, &subscription, NULL), "add");
    /* Half a second bounds the end; an interrupted wait looks like a time-out or an error. */
    rcl_ret_t waited = rcl_wait(&set, 500 * 1000 * 1000);
    if (waited == RCL_RET_TIMEOUT || ending) continue;
    must(waited, "wait");
    if (set.subscriptions[0] == NULL) continue;
    while (rcl_take_serialized_message(&subscription, &scan, NULL, NULL) == RCL_RET_OK) {
      if (scan.buffer_length < STAMP_AT + STAMP_BYTES) continue;
      memcpy(twist.buffer + STAMP_AT, scan.buffer + STAMP_AT, STAMP_BYTES);
      must(rcl_publish_serialized_message(&publisher, &twist, NULL), "publish");
    }
    rcl_reset_error();
  }
  /* In order, so that the peers hear at once that it is gone; the rest is the system's. */
  must(rcl_subscription_fini(&subscription, &node), "end of the subscription");
  must(rcl_publisher_fini(&publisher, &node), "end of the publisher");
  must(rcl_node_fini(&node), "end of the node");
  must(rcl_shutdown(&context), "shutdown");
  must(rcl_context_fini(&context), "end of the context");
  return 0;
}
