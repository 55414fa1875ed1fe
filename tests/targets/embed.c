/* A program of another name that runs Python inside: prints "ready" and sleeps in inside(). */
#include <Python.h>

int main(void) {
    Py_Initialize();
    return PyRun_SimpleString(
        "import time\n"
        "def inside():\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(3600)\n"
        "inside()\n");
}
