/* An outstation by libmodbus. Usage: libmodbus_server tcp PORT | rtu DEVICE
 * Its map is that of all the outstations here; see rig.py.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static modbus_mapping_t *map;

static void tick(void) {
    static double first;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    double now = t.tv_sec + t.tv_nsec / 1e9;
    if (!first)
        first = now;
    map->tab_registers[0] = (uint16_t)((now - first) * 10);
}

static void fill(void) {
    map = modbus_mapping_new(16, 16, 300, 16);
    /* modbus_set_float_abcd() of libmodbus 3.1.6 swaps the bytes: write the words themselves */
    map->tab_registers[1] = 0x4148;
    map->tab_registers[10] = 7;
    for (int i = 100; i < 225; i++)
        map->tab_registers[i] = i;
    map->tab_input_registers[0] = 4242;
    map->tab_input_registers[1] = (uint16_t)-7;
    map->tab_bits[9] = 1;
    map->tab_input_bits[3] = 1;
}

static void say_ready(int port) {
    printf("{\"port\": %d}\n", port);
    fflush(stdout);
}

static int serve_rtu(const char *device) {
    uint8_t query[MODBUS_MAX_ADU_LENGTH];
    modbus_t *line = modbus_new_rtu(device, 19200, 'N', 8, 1);
    modbus_set_slave(line, 1);
    if (modbus_connect(line))
        return 1;
    say_ready(0);
    for (;;) {
        int size = modbus_receive(line, query);
        tick();
        if (size > 0)
            modbus_reply(line, query, size, map);
        else if (size < 0 && errno != EMBBADCRC && errno != ETIMEDOUT)
            return 1;
    }
}

static int serve_tcp(int port) {
    uint8_t query[MODBUS_MAX_ADU_LENGTH];
    modbus_t *line = modbus_new_tcp("127.0.0.1", port);
    int door = modbus_tcp_listen(line, 8), highest = door;
    fd_set known;
    if (door < 0)
        return 1;
    FD_ZERO(&known);
    FD_SET(door, &known);
    say_ready(port);
    for (;;) {
        fd_set ready = known;
        if (select(highest + 1, &ready, NULL, NULL, NULL) < 0)
            return 1;
        for (int s = 0; s <= highest; s++) {
            if (!FD_ISSET(s, &ready))
                continue;
            if (s == door) {
                int joined = modbus_tcp_accept(line, &door);
                FD_SET(joined, &known);
                highest = joined > highest ? joined : highest;
                continue;
            }
            modbus_set_socket(line, s);
            int size = modbus_receive(line, query);
            tick();
            if (size > 0) {
                modbus_reply(line, query, size, map);
            } else if (size < 0) {
                close(s);
                FD_CLR(s, &known);
            }
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    fill();
    return strcmp(argv[1], "rtu") ? serve_tcp(atoi(argv[2])) : serve_rtu(argv[2]);
}
