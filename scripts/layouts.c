/* Prints the byte offsets that the reader of CPython needs, of the headers that it is compiled with: `name value`, a line each.
 *
 * Names are those of _Py_DebugOffsets (Include/internal/pycore_debug_offsets.h, 3.14) where it has them. Structs that CPython
 * keeps private to a .c file are declared here in the shape that the file named beside them gives; tests read live objects
 * of each kind to prove it. Compiled and run by generate_layouts.py.
 */
#define Py_BUILD_CORE 1
#include <Python.h>
#include <structmember.h>

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "internal/pycore_dict.h"
#include "internal/pycore_frame.h"
#include "internal/pycore_gil.h"
#include "internal/pycore_interp.h"
#include "internal/pycore_moduleobject.h"
#include "internal/pycore_runtime.h"
#if PY_VERSION_HEX >= 0x030d0000
#include "internal/pycore_lock.h"
#include "internal/pycore_semaphore.h"
#endif
#if PY_VERSION_HEX >= 0x030e0000
#include "internal/pycore_interpframe.h"
#include "internal/pycore_interpframe_structs.h"
#include "internal/pycore_tstate.h"
#endif

#define OFFSET(name, type, member) printf("%s %zu\n", name, offsetof(type, member))
#define SIZE(name, type) printf("%s %zu\n", name, sizeof(type))
#define VALUE(name, value) printf("%s %lld\n", name, (long long)(value))

/* Modules/_threadmodule.c */
#if PY_VERSION_HEX < 0x030e0000
typedef struct {
    PyObject_HEAD
    PyThread_type_lock lock_lock;
    PyObject *in_weakreflist;
    char locked;
} Lock;
typedef struct {
    PyObject_HEAD
    PyThread_type_lock rlock_lock;
    unsigned long rlock_owner;
    unsigned long rlock_count;
} RLock;
#else
typedef struct {
    PyObject_HEAD
    PyMutex lock;
} Lock;
typedef struct {
    PyObject_HEAD
    _PyRecursiveMutex lock;
} RLock;
#endif

/* Modules/_multiprocessing/semaphore.c */
typedef struct {
    PyObject_HEAD
    void *handle;
    unsigned long last_tid;
    int count;
    int maxvalue;
    int kind;
    char *name;
} SemLock;

/* Modules/_queuemodule.c */
#if PY_VERSION_HEX < 0x030d0000
typedef struct {
    PyObject_HEAD
    PyThread_type_lock lock;
} SimpleQueue;
#else
typedef struct {
    PyObject_HEAD
    bool has_threads_waiting;
    Py_ssize_t put_idx;
    Py_ssize_t get_idx;
    PyObject **items;
    Py_ssize_t items_cap;
    Py_ssize_t num_items;
} SimpleQueue;
#endif

/* Python/parking_lot.c: what a thread that parks has on its C stack; it sleeps on `sema` */
#if PY_VERSION_HEX >= 0x030d0000
typedef struct {
    void *park_arg;
    uintptr_t addr;
    _PySemaphore sema;
} Parked;
#endif

/* Modules/_collectionsmodule.c */
typedef struct Block {
    struct Block *leftlink;
    PyObject *data[64];
    struct Block *rightlink;
} Block;
typedef struct {
    PyObject_VAR_HEAD
    Block *leftblock;
    Block *rightblock;
    Py_ssize_t leftindex;
    Py_ssize_t rightindex;
} Deque;

/* Modules/_asynciomodule.c; from 3.14 on the module publishes these itself, in its section .AsyncioDebug */
#if PY_VERSION_HEX < 0x030d0000
typedef struct {
    PyObject_HEAD
    PyObject *before_state[9];
    int state;
    int log_tb;
    int blocking;
    PyObject *dict;
    PyObject *weakreflist;
    PyObject *cancelled_exc;
    PyObject *fut_waiter;
    PyObject *coro;
    PyObject *name;
} Task;
#elif PY_VERSION_HEX < 0x030e0000
typedef struct {
    PyObject_HEAD
    PyObject *before_state[10];
    int state;
    unsigned bits;
    int num_cancels_requested;
    PyObject *fut_waiter;
    PyObject *coro;
    PyObject *name;
} Task;
#endif

/* Objects/obmalloc.c in 3.11, Include/internal/pycore_obmalloc.h from 3.12 on */
typedef struct {
    union {
        void *padding;
        unsigned int count;
    } ref;
    void *freeblock;
    void *nextpool;
    void *prevpool;
    unsigned int arenaindex;
    unsigned int szidx;
    unsigned int nextoffset;
    unsigned int maxnextoffset;
} Pool;

/* Modules/_functoolsmodule.c */
typedef struct lru_cache_object {
    struct {
        PyObject_HEAD
        void *prev, *next;
        Py_hash_t hash;
        PyObject *key, *result;
    } root;
    void *wrapper;
    int typed;
    PyObject *cache;
    Py_ssize_t hits;
    PyObject *func;
    Py_ssize_t maxsize;
} LruCache;

static int bit_of(void *state) {
    uint32_t word;
    memcpy(&word, state, sizeof word);
    return __builtin_ctz(word);
}

static void runtime(void) {
    SIZE("runtime_state.size", _PyRuntimeState);
    OFFSET("runtime_state.interpreters_head", _PyRuntimeState, interpreters.head);
#if PY_VERSION_HEX < 0x030c0000
    OFFSET("runtime_state.gil", _PyRuntimeState, ceval.gil);
#endif
    SIZE("gil.size", struct _gil_runtime_state);
    OFFSET("gil.last_holder", struct _gil_runtime_state, last_holder);
    OFFSET("gil.locked", struct _gil_runtime_state, locked);

    SIZE("interpreter_state.size", PyInterpreterState);
    OFFSET("interpreter_state.id", PyInterpreterState, id);
    OFFSET("interpreter_state.next", PyInterpreterState, next);
    OFFSET("interpreter_state.gc_garbage", PyInterpreterState, gc.garbage);
    OFFSET("interpreter_state.threads_head", PyInterpreterState, threads.head);
    OFFSET("interpreter_state.gc", PyInterpreterState, gc);
    OFFSET("interpreter_state.gc_generations", PyInterpreterState, gc.generations);
    SIZE("gc_generation.size", struct gc_generation);
    SIZE("gc.size", struct _gc_runtime_state);
    OFFSET("gc.enabled", struct _gc_runtime_state, enabled);
    OFFSET("gc.debug", struct _gc_runtime_state, debug);
    OFFSET("gc.permanent_generation", struct _gc_runtime_state, permanent_generation);
    OFFSET("gc.generation_stats", struct _gc_runtime_state, generation_stats);
    OFFSET("gc.collecting", struct _gc_runtime_state, collecting);
    OFFSET("gc.garbage", struct _gc_runtime_state, garbage);
    OFFSET("gc.long_lived_total", struct _gc_runtime_state, long_lived_total);
    OFFSET("gc.long_lived_pending", struct _gc_runtime_state, long_lived_pending);
    OFFSET("gc_generation.threshold", struct gc_generation, threshold);
    OFFSET("gc_generation.count", struct gc_generation, count);
    SIZE("gc_stats.size", struct gc_generation_stats);
    OFFSET("gc_stats.collections", struct gc_generation_stats, collections);
    OFFSET("gc_stats.collected", struct gc_generation_stats, collected);
    OFFSET("gc_stats.uncollectable", struct gc_generation_stats, uncollectable);
#if PY_VERSION_HEX >= 0x030f0000
    OFFSET("gc_stats.candidates", struct gc_generation_stats, candidates);
    OFFSET("gc_stats.duration", struct gc_generation_stats, duration);
    OFFSET("gc_stats.heap_size", struct gc_generation_stats, heap_size);
    OFFSET("gc_stats.ts_start", struct gc_generation_stats, ts_start);
    OFFSET("gc_stats.ts_stop", struct gc_generation_stats, ts_stop);
    SIZE("gc_stats_buffers.size", struct gc_stats);
    OFFSET("gc_stats_buffers.young_index", struct gc_stats, young.index);
    OFFSET("gc_stats_buffers.old_1", struct gc_stats, old[0]);
    OFFSET("gc_stats_buffers.old_2", struct gc_stats, old[1]);
    OFFSET("gc_stats_buffers.old_index", struct gc_old_stats_buffer, index);
#endif
#if PY_VERSION_HEX >= 0x030e0000
    OFFSET("gc.heap_size", struct _gc_runtime_state, heap_size);
#endif
#if PY_VERSION_HEX >= 0x030d0000
    OFFSET("interpreter_state.next_code_version", PyInterpreterState, func_state.next_version);
#endif
#if PY_VERSION_HEX >= 0x030e0000
    OFFSET("interpreter_state.code_object_generation", PyInterpreterState, _code_object_generation);
    OFFSET("interpreter_state.asyncio_tasks_head", PyInterpreterState, asyncio_tasks_head);
#endif
#if PY_VERSION_HEX >= 0x030c0000
    OFFSET("interpreter_state.imports_modules", PyInterpreterState, imports.modules);
    OFFSET("interpreter_state.ceval_gil", PyInterpreterState, ceval.gil);
#else
    OFFSET("interpreter_state.imports_modules", PyInterpreterState, modules);
#endif
}

static void thread(void) {
    SIZE("thread_state.size", PyThreadState);
    OFFSET("thread_state.prev", PyThreadState, prev);
    OFFSET("thread_state.next", PyThreadState, next);
    OFFSET("thread_state.interp", PyThreadState, interp);
    OFFSET("thread_state.thread_id", PyThreadState, thread_id);
    OFFSET("thread_state.native_thread_id", PyThreadState, native_thread_id);
    OFFSET("thread_state.datastack_chunk", PyThreadState, datastack_chunk);
    OFFSET("thread_state.datastack_top", PyThreadState, datastack_top);
#if PY_VERSION_HEX >= 0x030d0000
    OFFSET("thread_state.current_frame", PyThreadState, current_frame);
#else
    OFFSET("thread_state.cframe", PyThreadState, cframe);
    OFFSET("cframe.current_frame", _PyCFrame, current_frame);
#endif
#if PY_VERSION_HEX >= 0x030e0000
    OFFSET("thread_state.asyncio_running_loop", _PyThreadStateImpl, asyncio_running_loop);
    OFFSET("thread_state.asyncio_running_task", _PyThreadStateImpl, asyncio_running_task);
    OFFSET("thread_state.asyncio_tasks_head", _PyThreadStateImpl, asyncio_tasks_head);
#endif
#if PY_VERSION_HEX >= 0x030f0000
    OFFSET("thread_state.base_frame", PyThreadState, base_frame);
    OFFSET("thread_state.holds_gil", PyThreadState, holds_gil);
    OFFSET("thread_state.gil_requested", PyThreadState, gil_requested);
#endif
    OFFSET("stack_chunk.previous", _PyStackChunk, previous);
    OFFSET("stack_chunk.size", _PyStackChunk, size);
    OFFSET("stack_chunk.top", _PyStackChunk, top);
    OFFSET("stack_chunk.data", _PyStackChunk, data);
}

static void frame_and_code(void) {
    SIZE("interpreter_frame.size", _PyInterpreterFrame);
    OFFSET("interpreter_frame.previous", _PyInterpreterFrame, previous);
    OFFSET("interpreter_frame.globals", _PyInterpreterFrame, f_globals);
    OFFSET("interpreter_frame.locals", _PyInterpreterFrame, f_locals);
    OFFSET("interpreter_frame.owner", _PyInterpreterFrame, owner);
    OFFSET("interpreter_frame.localsplus", _PyInterpreterFrame, localsplus);
#if PY_VERSION_HEX >= 0x030d0000
    OFFSET("interpreter_frame.executable", _PyInterpreterFrame, f_executable);
    OFFSET("interpreter_frame.instr_ptr", _PyInterpreterFrame, instr_ptr);
#else
    OFFSET("interpreter_frame.executable", _PyInterpreterFrame, f_code);
    OFFSET("interpreter_frame.instr_ptr", _PyInterpreterFrame, prev_instr);
#endif
#if PY_VERSION_HEX >= 0x030e0000
    OFFSET("interpreter_frame.stackpointer", _PyInterpreterFrame, stackpointer);
#else
    OFFSET("interpreter_frame.stacktop", _PyInterpreterFrame, stacktop);
#endif
    OFFSET("frame_object.f_frame", PyFrameObject, f_frame);

    OFFSET("code_object.ob_size", PyCodeObject, ob_base.ob_size);
    OFFSET("code_object.flags", PyCodeObject, co_flags);
    OFFSET("code_object.argcount", PyCodeObject, co_argcount);
    OFFSET("code_object.names", PyCodeObject, co_names);
    OFFSET("code_object.consts", PyCodeObject, co_consts);
    OFFSET("code_object.exceptiontable", PyCodeObject, co_exceptiontable);
    OFFSET("code_object.stacksize", PyCodeObject, co_stacksize);
    OFFSET("code_object.firstlineno", PyCodeObject, co_firstlineno);
    OFFSET("code_object.nlocalsplus", PyCodeObject, co_nlocalsplus);
    /* The version of the function that a specialised CALL calls, from where the instruction pointer of its frame is meanwhile:
       at the CALL itself, before 3.13 at the last unit of its inline cache. 3.11 has it in the function alone. */
#if PY_VERSION_HEX >= 0x030d0000
    VALUE("instruction.called_version", sizeof(_Py_CODEUNIT) + offsetof(_PyCallCache, func_version));
#else
    VALUE("instruction.called_version",
          (long long)(sizeof(_Py_CODEUNIT) + offsetof(_PyCallCache, func_version))
              - (long long)(sizeof(_Py_CODEUNIT) * INLINE_CACHE_ENTRIES_CALL));
#endif
#if PY_VERSION_HEX >= 0x030c0000
    OFFSET("code_object.version", PyCodeObject, co_version);
#else
    OFFSET("interpreter_frame.function", _PyInterpreterFrame, f_func);
    OFFSET("function.func_version", PyFunctionObject, func_version);
#endif
    OFFSET("code_object.localsplusnames", PyCodeObject, co_localsplusnames);
    OFFSET("code_object.localspluskinds", PyCodeObject, co_localspluskinds);
    OFFSET("code_object.filename", PyCodeObject, co_filename);
    OFFSET("code_object.name", PyCodeObject, co_name);
    OFFSET("code_object.qualname", PyCodeObject, co_qualname);
    OFFSET("code_object.linetable", PyCodeObject, co_linetable);
    OFFSET("code_object.firsttraceable", PyCodeObject, _co_firsttraceable);
    OFFSET("code_object.co_code_adaptive", PyCodeObject, co_code_adaptive);

    OFFSET("gen_object.gi_iframe", PyGenObject, gi_iframe);
    OFFSET("gen_object.gi_frame_state", PyGenObject, gi_frame_state);
#if PY_VERSION_HEX < 0x030f0000
    VALUE("frame_state.finished", FRAME_COMPLETED); /* a signed byte; from this value on it has ended */
#else
    VALUE("frame_state.finished", FRAME_CLEARED);
#endif
    VALUE("frame_state.executing", FRAME_EXECUTING);
}

static void objects(void) {
    SIZE("pyobject.size", PyObject);
    OFFSET("pyobject.ob_type", PyObject, ob_type);
    VALUE("pyobject.managed_dict", -3 * (int)sizeof(void *)); /* pycore_object.h; in 3.12 a tagged word: bit 0 = values */
#if PY_VERSION_HEX < 0x030c0000
    VALUE("pyobject.managed_values", -4 * (int)sizeof(void *)); /* pycore_object.h, _PyObject_ValuesPointer */
#endif
    OFFSET("type_object.tp_name", PyTypeObject, tp_name);
    OFFSET("type_object.tp_basicsize", PyTypeObject, tp_basicsize);
    OFFSET("type_object.tp_itemsize", PyTypeObject, tp_itemsize);
    OFFSET("type_object.tp_flags", PyTypeObject, tp_flags);
    OFFSET("type_object.tp_weaklistoffset", PyTypeObject, tp_weaklistoffset);
    SIZE("type_object.size", PyTypeObject);
    SIZE("heap_type_object.size", PyHeapTypeObject);
    OFFSET("type_object.tp_base", PyTypeObject, tp_base);
    OFFSET("type_object.tp_dict", PyTypeObject, tp_dict);
    OFFSET("type_object.tp_dictoffset", PyTypeObject, tp_dictoffset);
    OFFSET("type_object.tp_mro", PyTypeObject, tp_mro);
    OFFSET("type_object.tp_subclasses", PyTypeObject, tp_subclasses);
    OFFSET("heap_type_object.ht_cached_keys", PyHeapTypeObject, ht_cached_keys);
    OFFSET("module_object.md_dict", PyModuleObject, md_dict);
    OFFSET("pool.freeblock", Pool, freeblock);
    OFFSET("pool.szidx", Pool, szidx);
    OFFSET("pool.nextoffset", Pool, nextoffset);
    SIZE("pool.size", Pool);
    SIZE("gc_head.size", PyGC_Head);

    OFFSET("dict_object.ma_used", PyDictObject, ma_used);
    OFFSET("dict_object.ma_keys", PyDictObject, ma_keys);
    OFFSET("dict_object.ma_values", PyDictObject, ma_values);
    OFFSET("dict_keys.log2_size", PyDictKeysObject, dk_log2_size);
    OFFSET("dict_keys.log2_index_bytes", PyDictKeysObject, dk_log2_index_bytes);
    OFFSET("dict_keys.refcnt", PyDictKeysObject, dk_refcnt);
    OFFSET("dict_keys.kind", PyDictKeysObject, dk_kind);
    OFFSET("dict_keys.usable", PyDictKeysObject, dk_usable);
    OFFSET("dict_keys.nentries", PyDictKeysObject, dk_nentries);
    OFFSET("dict_keys.indices", PyDictKeysObject, dk_indices);
    OFFSET("dict_values.values", PyDictValues, values);
#if PY_VERSION_HEX >= 0x030d0000
    OFFSET("dict_values.valid", PyDictValues, valid);
#endif

    OFFSET("tuple_object.ob_size", PyTupleObject, ob_base.ob_size);
    OFFSET("tuple_object.ob_item", PyTupleObject, ob_item);
    OFFSET("list_object.ob_size", PyListObject, ob_base.ob_size);
    OFFSET("list_object.ob_item", PyListObject, ob_item);
    OFFSET("list_object.allocated", PyListObject, allocated);
    OFFSET("set_object.used", PySetObject, used);
    OFFSET("set_object.mask", PySetObject, mask);
    OFFSET("set_object.table", PySetObject, table);
    OFFSET("set_object.smalltable", PySetObject, smalltable);
    OFFSET("weakref.wr_object", PyWeakReference, wr_object);
    OFFSET("bytes_object.ob_size", PyBytesObject, ob_base.ob_size);
    OFFSET("bytes_object.ob_sval", PyBytesObject, ob_sval);
    OFFSET("float_object.ob_fval", PyFloatObject, ob_fval);
#if PY_VERSION_HEX >= 0x030c0000
    OFFSET("long_object.lv_tag", PyLongObject, long_value.lv_tag);
    OFFSET("long_object.ob_digit", PyLongObject, long_value.ob_digit);
#else
    OFFSET("long_object.ob_size", PyLongObject, ob_base.ob_size);
    OFFSET("long_object.ob_digit", PyLongObject, ob_digit);
#endif

    PyUnicodeObject text;
#define STATE(field, value) \
    memset(&text, 0, sizeof text); \
    text._base._base.state.field = value; \
    VALUE("unicode_object." #field "_bit", bit_of(&text._base._base.state))
    STATE(kind, 1);
    STATE(compact, 1);
    STATE(ascii, 1);
    OFFSET("unicode_object.length", PyUnicodeObject, _base._base.length);
    OFFSET("unicode_object.state", PyUnicodeObject, _base._base.state);
    OFFSET("unicode_object.data", PyUnicodeObject, data);
    SIZE("unicode_object.asciiobject_size", PyASCIIObject);
    SIZE("unicode_object.compactunicodeobject_size", PyCompactUnicodeObject);

    OFFSET("member_descriptor.d_member", PyMemberDescrObject, d_member);
    OFFSET("member_def.offset", PyMemberDef, offset);
    OFFSET("method.im_func", PyMethodObject, im_func);
    OFFSET("method.im_self", PyMethodObject, im_self);
    OFFSET("builtin_function.m_ml", PyCFunctionObject, m_ml);
    OFFSET("builtin_function.m_self", PyCFunctionObject, m_self);
    OFFSET("method_def.ml_name", PyMethodDef, ml_name);
    OFFSET("descriptor.d_name", PyDescrObject, d_name);
    OFFSET("cell_object.ob_ref", PyCellObject, ob_ref);
    OFFSET("pyobject.ob_refcnt", PyObject, ob_refcnt);
    OFFSET("function.func_code", PyFunctionObject, func_code);
    OFFSET("function.func_globals", PyFunctionObject, func_globals);
    OFFSET("function.func_defaults", PyFunctionObject, func_defaults);
    OFFSET("function.func_kwdefaults", PyFunctionObject, func_kwdefaults);
    OFFSET("function.func_closure", PyFunctionObject, func_closure);
    OFFSET("bytearray_object.ob_alloc", PyByteArrayObject, ob_alloc);
    OFFSET("traceback.tb_next", PyTracebackObject, tb_next);
    OFFSET("traceback.tb_frame", PyTracebackObject, tb_frame);
    OFFSET("exception.traceback", PyBaseExceptionObject, traceback);
    OFFSET("lru_cache.cache", LruCache, cache);
    OFFSET("lru_cache.func", LruCache, func);
    OFFSET("lru_cache.maxsize", LruCache, maxsize);
    OFFSET("function.func_name", PyFunctionObject, func_name);
    OFFSET("function.func_qualname", PyFunctionObject, func_qualname);
}

static void synchronisation(void) {
#if PY_VERSION_HEX < 0x030e0000
    OFFSET("lock.semaphore", Lock, lock_lock);
    OFFSET("lock.locked", Lock, locked);
    OFFSET("rlock.semaphore", RLock, rlock_lock);
    OFFSET("rlock.owner", RLock, rlock_owner);
    OFFSET("rlock.count", RLock, rlock_count);
#else
    OFFSET("lock.mutex", Lock, lock);
    OFFSET("rlock.mutex", RLock, lock.mutex);
    OFFSET("rlock.owner", RLock, lock.thread);
    OFFSET("rlock.level", RLock, lock.level);
#endif
#if PY_VERSION_HEX < 0x030d0000
    OFFSET("simple_queue.lock", SimpleQueue, lock);
#else
    OFFSET("simple_queue.parked", SimpleQueue, has_threads_waiting);
    OFFSET("simple_queue.num_items", SimpleQueue, num_items);
    OFFSET("parked.addr", Parked, addr);
    OFFSET("parked.sema", Parked, sema);
#endif
    OFFSET("semlock.handle", SemLock, handle);
    OFFSET("semlock.last_tid", SemLock, last_tid);
    OFFSET("semlock.count", SemLock, count);
    OFFSET("semlock.maxvalue", SemLock, maxvalue);
    OFFSET("semlock.kind", SemLock, kind);
    OFFSET("semlock.name", SemLock, name);

    OFFSET("deque.ob_size", PyVarObject, ob_size);
    OFFSET("deque.leftblock", Deque, leftblock);
    OFFSET("deque.leftindex", Deque, leftindex);
    OFFSET("deque_block.leftlink", Block, leftlink);
    OFFSET("deque_block.data", Block, data);
    OFFSET("deque_block.rightlink", Block, rightlink);
#if PY_VERSION_HEX < 0x030e0000
    OFFSET("task.state", Task, state);
    OFFSET("task.fut_waiter", Task, fut_waiter);
    OFFSET("task.coro", Task, coro);
    OFFSET("task.name", Task, name);
#endif
}

int main(void) {
    runtime();
    thread();
    frame_and_code();
    objects();
    synchronisation();
    return 0;
}
