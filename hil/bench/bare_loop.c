/* What libmodbus costs by itself: the same registers as bare_loop.py, one outstation after the
 * other, each second. Usage: bare_loop PORTS_FILE REGISTERS PERIOD_MS
 */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BLOCK 125
#define OUTSTATIONS_MAX 1000

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * t.tv_sec + t.tv_nsec / 1e6;
}

static int scan(modbus_t *line, int registers) {
    uint16_t words[BLOCK];
    int complete = 1;
    for (int address = 0; address < registers; address += BLOCK) {
        int count = registers - address < BLOCK ? registers - address : BLOCK;
        if (modbus_read_registers(line, address, count, words) != count)
            complete = 0;
    }
    return complete;
}

int main(int argc, char **argv) {
    static modbus_t *lines[OUTSTATIONS_MAX];
    int outstations = 0, port;
    if (argc != 4)
        return 2;
    FILE *ports = fopen(argv[1], "r");
    if (!ports)
        return 2;
    while (outstations < OUTSTATIONS_MAX && fscanf(ports, "%d", &port) == 1) {
        modbus_t *line = modbus_new_tcp("127.0.0.1", port);
        modbus_set_slave(line, 1);
        modbus_set_response_timeout(line, 1, 0);
        if (modbus_connect(line)) {
            fprintf(stderr, "port %d: %s\n", port, modbus_strerror(errno));
            return 1;
        }
        lines[outstations++] = line;
    }
    fclose(ports);
    int registers = atoi(argv[2]);
    double period_ms = atof(argv[3]), due = now_ms();
    for (long done = 0, late = 0;;) {
        for (int i = 0; i < outstations; i++)
            done += scan(lines[i], registers);
        double took = now_ms() - due;
        late += took > period_ms ? outstations : 0;
        printf("{\"scans\": %ld, \"late\": %ld, \"cycle_ms\": %.1f}\n", done, late, took);
        fflush(stdout);
        due += period_ms;
        if (due < now_ms())
            due = now_ms();
        double wait = due - now_ms();
        if (wait > 0) {
            struct timespec pause = {(time_t)(wait / 1e3), (long)(1e6 * wait) % 1000000000L};
            nanosleep(&pause, NULL);
        }
    }
}
