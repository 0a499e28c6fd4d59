// Whole numbers from 0 on in as few bits as they need. A plane [m] holds one bit of every number:
// its byte i has those of the numbers i + k m, k = 0, ..., 7. Compiled for one step.

typedef unsigned char Byte;

#define MOST_BITS 8
#define FOR_ROWS(k) FOR_EIGHT(k)
#define FOR_BITS(bit) FOR_EIGHT(bit) if (bit < bits)
#ifdef __CUDACC__
#define FOR_EIGHT(k) _Pragma("unroll") for (int k = 0; k < 8; ++k)
#else
#define FOR_EIGHT(k) for (int k = 0; k < 8; ++k)
#endif

KERNEL pack_bits(const Storage *x, Byte *planes, Index n, Index m, Index bits) {
    FOR_EACH(j, m / TOGETHER) {
        const Index i = j * TOGETHER;
        Pack<Storage> rows[8];
        FOR_ROWS(k) {
            const Index first = i + k * m;
            if (first + TOGETHER <= n) rows[k] = read(x + first);
            else FOR_LANES(l) {
                if (first + l < n) rows[k].at[l] = x[first + l];
                else store(&rows[k].at[l], 0);
            }
        }
        FOR_BITS(bit) {
            Pack<Byte> bytes;
            FOR_LANES(l) {
                int byte = 0;
                FOR_ROWS(k) byte |= ((int)widen(rows[k].at[l]) >> bit & 1) << k;
                bytes.at[l] = (Byte)byte;
            }
            write(planes + bit * m + i, bytes);
        }
    }
}

KERNEL unpack_bits(const Byte *planes, Storage *x, Index n, Index m, Index bits) {
    FOR_EACH(j, m / TOGETHER) {
        const Index i = j * TOGETHER;
        Pack<Byte> bytes[MOST_BITS];
        FOR_BITS(bit) bytes[bit] = read(planes + bit * m + i);
        FOR_ROWS(k) {
            const Index first = i + k * m;
            Pack<Storage> row;
            FOR_LANES(l) {
                int number = 0;
                FOR_BITS(bit) number |= (bytes[bit].at[l] >> k & 1) << bit;
                store(&row.at[l], (Wide)number);
            }
            if (first + TOGETHER <= n) write(x + first, row);
            else FOR_LANES(l) if (first + l < n) x[first + l] = row.at[l];
        }
    }
}
