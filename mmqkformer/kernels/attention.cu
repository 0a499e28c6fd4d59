// Q-K token attention: the spikes of Q are added over the channels of a head, a neuron fires on
// the sum, and its spike lets a token of K through. A thread has one token of one head, or, where
// channels are last, the GROUP threads of a warp share its channels.
//
// Element (b, c, n) of a step lies at b stride_b + c stride_c + n stride_n. Lanes are neighbouring
// channels: where there are several, channels are last.

#define TOKENS \
    Index batch, Index heads, Index width, Index tokens, Index stride_b, Index stride_c, \
    Index stride_n

#ifndef GROUP
#define GROUP 1
#endif
#define FOR_EACH_TOKEN(k, count) \
    for (Index k = first_thread() / GROUP; k < (count); k += all_threads() / GROUP)
#define FOR_CHANNELS(c) \
    for (Index c = first_thread() % GROUP * TOGETHER; c < width; c += GROUP * TOGETHER)

// The same for all threads of a group.
DEVICE Wide sum_of_group(Wide x) {
#if defined(__CUDACC__) && GROUP > 1
    for (int apart = GROUP / 2; apart > 0; apart /= 2) x += __shfl_xor_sync(0xffffffffu, x, apart);
#endif
    return x;
}

#define FIRST_CHANNEL(k) \
    k / (heads * tokens) * stride_b + k / tokens % heads * width * stride_c + k % tokens * stride_n

DEVICE void add_channels(
    const Storage *query, Index step, Index first, Index width, Index stride_c, Wide *sum
) {
    FOR_STEPS(t) {
        sum[t] = 0;
        FOR_CHANNELS(c) {
            const Pack<Storage> pack = read(query + t * step + first + c * stride_c);
            FOR_LANES(l) sum[t] += widen(pack.at[l]);
        }
        sum[t] = sum_of_group(sum[t]);
    }
}

KERNEL token_attention_forward(
    const Storage *query, Index query_step, const Storage *key, Index key_step, Storage *out,
    Index count, TOKENS, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    FOR_EACH_TOKEN(k, batch * heads * tokens) {
        const Index first = FIRST_CHANNEL(k);
        Wide sum[STEPS], h[STEPS];
        add_channels(query, query_step, first, width, stride_c, sum);
        integrate(neuron, sum, h);
        FOR_STEPS(t) {
            const Wide mask = fires(neuron, h[t]);
            FOR_CHANNELS(c) {
                const Index i = first + c * stride_c;
                Pack<Storage> pack = read(key + t * key_step + i);
                FOR_LANES(l) store(&pack.at[l], widen(pack.at[l]) * mask);
                write(out + t * count + i, pack);
            }
        }
    }
}

KERNEL token_attention_backward(
    const Storage *query, Index query_step, const Storage *key, Index key_step,
    const Storage *grad_out, Index grad_step, Storage *grad_query, Storage *grad_key,
    Wide *grad_rates, Index count, TOKENS, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    Wide grad_rate = 0;
    FOR_EACH_TOKEN(k, batch * heads * tokens) {
        const Index first = FIRST_CHANNEL(k);
        Wide sum[STEPS], h[STEPS], grad[STEPS];
        add_channels(query, query_step, first, width, stride_c, sum);
        integrate(neuron, sum, h);
        FOR_STEPS(t) {
            const Wide mask = fires(neuron, h[t]);
            grad[t] = 0;
            FOR_CHANNELS(c) {
                const Index i = first + c * stride_c;
                const Pack<Storage> keys = read(key + t * key_step + i);
                Pack<Storage> grads = read(grad_out + t * grad_step + i);
                FOR_LANES(l) {
                    const Wide grad_product = widen(grads.at[l]);
                    grad[t] += grad_product * widen(keys.at[l]);
                    store(&grads.at[l], grad_product * mask);
                }
                write(grad_key + t * count + i, grads);
            }
            grad[t] = sum_of_group(grad[t]);
        }
        const Wide of_token = differentiate(neuron, sum, h, grad);
        if (first_thread() % GROUP == 0) grad_rate += of_token;
        FOR_STEPS(t) {
            Pack<Storage> pack;
            FOR_LANES(l) store(&pack.at[l], grad[t]);
            FOR_CHANNELS(c) write(grad_query + t * count + first + c * stride_c, pack);
        }
    }
    if (neuron.leak == LEARNT) grad_rates[first_thread()] = grad_rate;
}
