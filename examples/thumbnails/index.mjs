// An S3 event: which thumbnails are to be made of the pictures that have come in.

const sizes = (process.env.SIZES ?? '64').split(',').map(Number);

export async function handler(event) {
  const pictures = event.Records.filter((record) => record.eventName.startsWith('ObjectCreated:'));
  const jobs = pictures.flatMap(({ s3 }) => {
    const key = decodeURIComponent(s3.object.key.replaceAll('+', ' '));
    return sizes.map((size) => ({ source: `s3://${s3.bucket.name}/${key}`, target: `thumbnails/${size}/${key}`, size }));
  });
  console.log('%d pictures, %d thumbnails', pictures.length, jobs.length);
  return { jobs };
}
