# cython: language_level=3, boundscheck=False, wraparound=False
"""The fast twin of `_framing_py.py`, which is the specification: same rule, same results, same refusals."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memchr, memcmp

LIMIT = 64 << 20

ctypedef const char *Place  # in some bytes


cdef class Splitter:
    cdef list _data          # values of this event's data lines
    cdef list _parts         # the unfinished line, in pieces
    cdef Py_ssize_t _size    # bytes of this event's data lines
    cdef Py_ssize_t _held    # bytes in _parts
    cdef Py_ssize_t _limit
    cdef bint _skip_lf       # the last byte was CR
    cdef bint _full

    def __init__(self, Py_ssize_t limit=64 << 20):
        self._data = []
        self._parts = []
        self._size = 0
        self._held = 0
        self._limit = limit
        self._skip_lf = False
        self._full = False

    ### Public API ###

    cpdef list feed(self, bytes chunk):
        """The payloads of the events that ``chunk`` completes."""
        cdef Place at = PyBytes_AS_STRING(chunk)
        cdef Place end = at + PyBytes_GET_SIZE(chunk), lf, cr, stop
        cdef list out = []
        if self._full:
            raise ValueError("an event is too long")
        if at == end:
            return out
        if self._skip_lf:
            self._skip_lf = False
            if at[0] == 10:
                at += 1
        lf = <Place>memchr(at, 10, end - at)
        cr = <Place>memchr(at, 13, end - at)
        while lf != NULL or cr != NULL:
            stop = lf if cr == NULL or (lf != NULL and lf < cr) else cr
            if not self._end_of_line(at, stop, out):
                return self._overflow(out)
            at = stop + 1
            if stop == cr:
                if at == end:
                    self._skip_lf = True
                elif at[0] == 10:
                    at += 1
                cr = <Place>memchr(at, 13, end - at)
                if lf != NULL and lf < at:
                    lf = <Place>memchr(at, 10, end - at)
            else:
                lf = <Place>memchr(at, 10, end - at)
        if at != end:
            self._parts.append(PyBytes_FromStringAndSize(at, end - at))
            self._held += end - at
            if self._size + self._held > self._limit:
                return self._overflow(out)
        return out

    cpdef list flush(self):
        """The payload of a last event that lacks its blank line, if there is one."""
        cdef list out = []
        cdef Place nothing = b""
        if self._full:
            raise ValueError("an event is too long")
        if self._parts:
            self._end_of_line(nothing, nothing, out)
        self._end_of_line(nothing, nothing, out)
        self._skip_lf = False
        return out

    ### The line ###

    cdef bint _end_of_line(self, Place at, Place end, list out) except -1:
        cdef bytes line
        if not self._parts:
            return self._line(at, end - at, out)
        self._parts.append(PyBytes_FromStringAndSize(at, end - at))
        line = b"".join(self._parts)
        self._parts.clear()
        self._held = 0
        return self._line(PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line), out)

    cdef bint _line(self, Place line, Py_ssize_t size, list out) except -1:
        cdef Place value
        if size == 0:
            if self._data:
                out.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data.clear()
            self._size = 0
            return True
        if self._size + size > self._limit:
            return False
        if (value := _value(line, line + size, b"data", 4)) != NULL:
            self._size += size
            self._data.append(PyBytes_FromStringAndSize(value, line + size - value))
        return True

    cdef list _overflow(self, list out):
        self._full = True
        self._data.clear()
        self._parts.clear()
        if not out:
            raise ValueError("an event is too long")
        return out


cdef inline Place _value(Place line, Place end, Place field, size_t size) noexcept:
    """Where the value begins if the line is such a field, or NULL.  ``end[0]`` is looked at: no bytes lack it."""
    if <size_t>(end - line) < size or memcmp(line, field, size) != 0 or (line + size != end and line[size] != 58):
        return NULL
    line += size + (line + size != end)
    return line + (line != end and line[0] == 32)


cpdef bytes frame(bytes event, bytes data):
    """One event; ``data`` must be one line (JSON is)."""
    return b"event: " + event + b"\ndata: " + data + b"\n\n"


cpdef tuple following(bytes data, Py_ssize_t at, bytes passed):
    """The next event that is not passed over: where it begins and ends, its name, its data and where that begins."""
    cdef Place first = PyBytes_AS_STRING(data)
    cdef Place end = first + PyBytes_GET_SIZE(data)
    cdef Place line = first + at
    cdef Place clear = line  # up to here there is no CR
    cdef Place start, here, last, stop, cr, value, name = NULL, text = NULL
    cdef Py_ssize_t place, texts, length, size = 0
    while line < end:
        start, length, texts = line, 0, 0
        while True:
            stop = line if line[0] == 10 else <Place>memchr(line, 10, end - line)
            last = end if stop == NULL else stop
            if last > clear:  # many short lines share one search
                clear = end if end - last < 4096 else last + 4096
                if (cr := <Place>memchr(line, 13, clear - line)) != NULL:
                    clear, stop = cr, cr if cr < last else stop
            if stop == NULL:
                return start - first, -1, b"", None, -1
            here, line = line, stop + 1 + (stop[0] == 13 and stop[1] == 10)
            if here == stop:
                break
            if (value := _value(here, stop, b"event", 5)) != NULL:
                name, length = value, stop - value
            elif (value := _value(here, stop, b"data", 4)) != NULL:
                text, size, texts = value, stop - value, texts + 1
        if start != stop and (passed is None or length < len(passed) or memcmp(name, <Place>passed, len(passed)) != 0):
            payload = PyBytes_FromStringAndSize(text, size) if texts else None
            if texts > 1:
                payload = Splitter(line - start).feed(data[start - first:line - first])[0]
            place = text - first if texts == 1 else -1
            return start - first, line - first, PyBytes_FromStringAndSize(name, length), payload, place
    return None


### Events that are not decoded ###


cdef Place _string(Place at, Place end) except? NULL:
    """Past the end of a JSON string that our own encoder would write like this, or NULL."""
    cdef Place start = at
    cdef bint ascii = True
    if at == end or at[0] != 34:
        return NULL
    at += 1
    while at != end and at[0] != 34:
        if at[0] == 92:
            at += 1
            if at == end or memchr(b'"\\bfnrt', at[0], 7) == NULL:
                return NULL
        elif <unsigned char>at[0] < 32:
            return NULL
        elif <unsigned char>at[0] > 127:
            ascii = False
        at += 1
    if at == end:
        return NULL
    if not ascii:
        try:
            PyUnicode_DecodeUTF8(start, at - start, NULL)
        except UnicodeDecodeError:
            return NULL
    return at + 1


cdef Place _number(Place at, Place end) noexcept:
    if at == end or at[0] < 49 or at[0] > 57:
        return NULL
    while at != end and at[0] >= 48 and at[0] <= 57:
        at += 1
    return at


cdef class Shape:
    cdef tuple _parts
    cdef bytes _values

    def __init__(self, parts, str values):
        if len(parts) != len(values) + 1 or values.count("t") != 1 or set(values) - set("tsn"):
            raise ValueError("a shape has one text, and one part more than it has values")
        self._parts, self._values = tuple(parts), values.encode()

    ### Public API ###

    cpdef list texts(self, list payloads, Py_ssize_t at):
        """The texts of the payloads from ``at`` on, up to the first that has another shape."""
        cdef Place text = NULL
        cdef Py_ssize_t size, count = len(payloads)
        cdef list found = []
        while at < count:
            size = self._text(<bytes>payloads[at], &text)
            if not size:
                break
            found.append(PyBytes_FromStringAndSize(text, size))
            at += 1
        return found

    cdef Py_ssize_t _text(self, bytes payload, Place *text) except -1:
        """The size of the payload's text, quotes included; 0 if it has another shape."""
        cdef Place at = PyBytes_AS_STRING(payload)
        cdef Place end = at + PyBytes_GET_SIZE(payload), start
        cdef Py_ssize_t i, size, found = 0, count = PyBytes_GET_SIZE(self._values)
        cdef char value
        cdef bytes part
        for i in range(count + 1):
            part = <bytes>self._parts[i]
            size = PyBytes_GET_SIZE(part)
            if end - at < size or memcmp(at, PyBytes_AS_STRING(part), size) != 0:
                return 0
            at += size
            if i == count:
                break
            start, value = at, PyBytes_AS_STRING(self._values)[i]
            at = _number(start, end) if value == b"n" else _string(start, end)
            if at == NULL:
                return 0
            if value == b"t":
                text[0], found = start, at - start
        return found if at == end and found > 2 else 0
