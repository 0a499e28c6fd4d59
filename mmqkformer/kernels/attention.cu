// Q-K token attention: the spikes of Q are added over the channels of a head, a neuron fires on
// the sum, and its spike lets a token of K through. A thread has one token of one head.
//
// Element (b, c, n) of a step lies at b stride_b + c stride_c + n stride_n. Lanes are neighbouring
// channels: where there are several, channels are last.

#define TOKENS \
    Index batch, Index heads, Index width, Index tokens, Index stride_b, Index stride_c, \
    Index stride_n

#define FIRST_CHANNEL(k) \
    k / (heads * tokens) * stride_b + k / tokens % heads * width * stride_c + k % tokens * stride_n

DEVICE void add_channels(
    const Storage *query, Index step, Index first, Index width, Index stride_c, Wide *sum
) {
    FOR_STEPS(t) {
        sum[t] = 0;
        for (Index c = 0; c < width; c += TOGETHER) {
            const Pack<Storage> pack = read(query + t * step + first + c * stride_c);
            FOR_LANES(l) sum[t] += widen(pack.at[l]);
        }
    }
}

KERNEL token_attention_forward(
    const Storage *query, Index query_step, const Storage *key, Index key_step, Storage *out,
    Index count, TOKENS, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    FOR_EACH(k, batch * heads * tokens) {
        const Index first = FIRST_CHANNEL(k);
        Wide sum[STEPS], h[STEPS];
        add_channels(query, query_step, first, width, stride_c, sum);
        integrate(neuron, sum, h);
        FOR_STEPS(t) {
            const Wide mask = fires(neuron, h[t]);
            for (Index c = 0; c < width; c += TOGETHER) {
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
    FOR_EACH(k, batch * heads * tokens) {
        const Index first = FIRST_CHANNEL(k);
        Wide sum[STEPS], h[STEPS], grad[STEPS];
        add_channels(query, query_step, first, width, stride_c, sum);
        integrate(neuron, sum, h);
        FOR_STEPS(t) {
            const Wide mask = fires(neuron, h[t]);
            grad[t] = 0;
            for (Index c = 0; c < width; c += TOGETHER) {
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
        }
        grad_rate += differentiate(neuron, sum, h, grad);
        FOR_STEPS(t) {
            Pack<Storage> pack;
            FOR_LANES(l) store(&pack.at[l], grad[t]);
            for (Index c = 0; c < width; c += TOGETHER)
                write(grad_query + t * count + first + c * stride_c, pack);
        }
    }
    if (neuron.leak == LEARNT) grad_rates[first_thread()] = grad_rate;
}
